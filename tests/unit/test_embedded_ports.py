"""Ports: choosing free ones, and naming who holds a busy one."""

import os
import socket

import pytest

from streams.embedded.ports import LOOPBACK, is_free, pick_free_ports, require_free
from streams.errors import SetupError


def listener() -> socket.socket:
    busy = socket.create_server((LOOPBACK, pick_free_ports(1)[0]))
    assert not is_free(busy.getsockname()[1])
    return busy


def test_a_busy_port_is_named_with_its_holder_and_the_setting_to_change() -> None:
    with listener() as busy:
        port = busy.getsockname()[1]
        with pytest.raises(SetupError) as refused:
            require_free(port, purpose="Kafka", setting="--kafka-port")
    assert f"port {port} for Kafka" in refused.value.message
    assert f"(pid {os.getpid()})" in refused.value.message
    assert "--kafka-port" in refused.value.action


def test_a_port_is_free_again_once_its_listener_is_closed() -> None:
    with listener() as busy:
        port = busy.getsockname()[1]
    require_free(port, purpose="Kafka", setting="--kafka-port")


def test_picked_ports_differ_and_are_free() -> None:
    ports = pick_free_ports(8)
    assert len(set(ports)) == 8
    assert all(is_free(port) for port in ports)
