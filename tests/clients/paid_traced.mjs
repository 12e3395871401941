// A program that is traced by Paid's Node SDK, run by a test. Prints the trace ids of its workflows
// as JSON; its spans are exported before it ends.
import Anthropic from '@anthropic-ai/sdk'
import { PaidAnthropic } from '@paid-ai/paid-node/anthropic'
import { PaidOpenAI } from '@paid-ai/paid-node/openai'
import { initializeTracing, signal, trace } from '@paid-ai/paid-node/tracing'
import { trace as api } from '@opentelemetry/api'
import OpenAI from 'openai'

const [customer] = process.argv.slice(2)
const providers = process.env.PROVIDERS_URL
initializeTracing(process.env.PAID_API_KEY, {
  collectorEndpoint: `${process.env.TOLLGATE_URL}/v1/traces`,
})
const gpt = new PaidOpenAI(
  new OpenAI({ apiKey: 'sk-provider', baseURL: `${providers}/openai`, maxRetries: 0 }),
)
const claude = new PaidAnthropic(
  new Anthropic({ apiKey: 'sk-provider', baseURL: `${providers}/anthropic`, maxRetries: 0 }),
)
const messages = [{ role: 'user', content: 'the secret recipe of our soup' }]
const callGpt = () => gpt.chat.completions.create({ model: 'priced-gpt', messages })
const callClaude = () => claude.messages.create({
  model: 'priced-claude', max_tokens: 100, messages,
})
const traces = {}

async function traced(name, work) {
  await trace({
    externalCustomerId: customer, externalProductId: 'sdr', metadata: { campaign_id: name },
  }, async () => {
    traces[name] = api.getActiveSpan().spanContext().traceId
    await work()
  })
}

await traced('wrapped', async () => {
  await callGpt()
  await gpt.responses.create({ model: 'priced-gpt', input: 'the secret recipe of our soup' })
  await callClaude()
  await gpt.chat.completions.create({ model: 'boom', messages }).catch(() => {})
  signal('email_opened', false, { n: 1 })
  signal('email_sent', true, { to: 'bob' })
})
await traced('unclaimed', callClaude)
await traced('shared', async () => {
  await callGpt()
  signal('first_half', true)
  signal('second_half', true)
})
await traced('by_hand', async () => {
  signal('manual', false, {
    costData: { vendor: 'any', cost: { amount: 0.1 + 0.2, currency: 'USD' } },
  })
})
console.log(JSON.stringify(traces))
