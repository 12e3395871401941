// Paid's Node client, run by a test. Prints what it was answered as one JSON object.
import { PaidClient, PaidError } from '@paid-ai/paid-node'

const [external] = process.argv.slice(2)
const client = new PaidClient({
  token: process.env.PAID_API_KEY, baseUrl: `${process.env.TOLLGATE_URL}/api/v2`,
})
const found = {}
const customer = await client.customers.createCustomer({ name: 'Acme', externalId: external })
const changed = await client.customers.updateCustomerByExternalId({
  externalId: external, body: { name: "Acme 2" },
})
found.customer = [customer.id === changed.id, changed.name, changed.externalId]
const product = await client.products.createProduct({ name: 'SDR', externalId: `${external}-sdr` })
const order = await client.orders.createOrder({
  customerId: customer.id, lines: [{ productId: product.id }],
})
found.order = [order.creationState, (await client.orders.getOrderLines({ id: order.id })).data.length]
const signals = [{
  eventName: 'meeting_booked', idempotencyKey: 'sig-1', customer: { customerId: customer.id },
  attribution: { productId: product.id }, timestamp: new Date().toISOString(), data: { n: 1 },
}]
found.first = await client.signals.createSignals({ signals })
found.again = await client.signals.createSignals({ signals })
found.costs = await client.costs.createCosts({ costs: [
  { type: 'cost', customer: { externalCustomerId: external }, amount: 0.1 + 0.2, currency: 'USD' },
] })
const { data } = await client.customers.getCustomerCreditBalances({ id: customer.id })
found.credits = data.map((one) => [one.currencyKey, one.available])
try {
  await client.customers.getCustomerByExternalId({ externalId: `${external}-missing` })
} catch (error) {
  found.missing = [error instanceof PaidError, error.statusCode, error.body.code]
}
console.log(JSON.stringify(found))
