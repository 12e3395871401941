"""Stand-ins of further AI providers: Mistral's pages, Gemini, Bedrock."""

import re
from typing import Any, Final

from tests.clients.providers import Providers, Send, send_json

GEMINI_USAGE: Final = {
    "promptTokenCount": 700,
    "candidatesTokenCount": 120,
    "thoughtsTokenCount": 80,
    "cachedContentTokenCount": 512,
    "totalTokenCount": 900,
}
BEDROCK_USAGE: Final = {
    "inputTokens": 50,
    "outputTokens": 20,
    "totalTokens": 110,
    "cacheReadInputTokens": 30,
    "cacheWriteInputTokens": 10,
}


class MoreProviders(Providers):
    """All of them under one URL."""

    async def answer(self, path: str, asked: Any, send: Send) -> None:
        gemini = re.search(r"/models/([^/:]+):generateContent$", path)
        if gemini:
            content = {"role": "model", "parts": [{"text": "Hello"}]}
            told: dict[str, Any] = {
                "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
                "modelVersion": gemini[1],
                "responseId": self._id("resp"),
                "usageMetadata": GEMINI_USAGE,
            }
            await send_json(send, 200, told)
        elif path.endswith("/converse"):
            message = {"role": "assistant", "content": [{"text": "Hello"}]}
            told = {
                "output": {"message": message},
                "stopReason": "end_turn",
                "usage": BEDROCK_USAGE,
                "metrics": {"latencyMs": 1},
            }
            await send_json(send, 200, told)
        elif path.endswith("/ocr"):
            size = {"dpi": 200, "height": 100, "width": 100}
            page = {"index": 0, "markdown": "hi", "images": [], "dimensions": size}
            told = {
                "pages": [page],
                "model": asked["model"],
                "usage_info": {"pages_processed": 3, "doc_size_bytes": 1000},
            }
            await send_json(send, 200, told)
        else:
            await super().answer(path, asked, send)
