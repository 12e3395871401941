// Calls AI providers through Paid's Node wrappers or instrumentations, run by a test. Prints the
// trace ids of its workflows as JSON.
//
// Version 1.7.1 was published with wrappers of Mistral and LangChain that ask for a package
// "tracing", which is a folder of its own: the test puts that name in its place. Only CommonJS then
// has one tracing for all of them.
const { createAnthropic } = require('@ai-sdk/anthropic')
const { createOpenAI } = require('@ai-sdk/openai')
const anthropicModule = require('@anthropic-ai/sdk')
const { ChatOpenAI } = require('@langchain/openai')
const { Mistral } = require('@mistralai/mistralai')
const { trace: api } = require('@opentelemetry/api')
const { PaidAnthropic } = require('@paid-ai/paid-node/anthropic')
const { PaidLangChainCallback } = require('@paid-ai/paid-node/langchain')
const { PaidMistral } = require('@paid-ai/paid-node/mistral')
const { PaidOpenAI } = require('@paid-ai/paid-node/openai')
const { paidAutoInstrumentModules } = require('@paid-ai/paid-node/tracing/auto')
const {
  getPaidTracerProvider, initializeTracing, signal, trace,
} = require('@paid-ai/paid-node/tracing')
const { paidVercelGenerateText } = require('@paid-ai/paid-node/vercel')
const { generateText } = require('ai')
const openaiModule = require('openai')

const [customer, ...workflows] = process.argv.slice(2)
const providers = process.env.PROVIDERS_URL
initializeTracing(process.env.PAID_API_KEY, {
  collectorEndpoint: `${process.env.TOLLGATE_URL}/v1/traces`,
  registerGlobal: true,
})
const prompt = 'the secret recipe of our soup'
const messages = [{ role: 'user', content: prompt }]
const openai = () => new openaiModule.default({
  apiKey: 'sk', baseURL: `${providers}/openai`, maxRetries: 0,
})
const claude = () => new anthropicModule.default({
  apiKey: 'sk', baseURL: `${providers}/anthropic`, maxRetries: 0,
})
const gptModel = () => createOpenAI({ apiKey: 'sk', baseURL: `${providers}/openai` }).chat(
  'priced-gpt',
)
const claudeModel = () => createAnthropic({ apiKey: 'sk', baseURL: `${providers}/anthropic/v1` })(
  'priced-claude',
)

const works = {
  async openai_wrapper() {
    const wrapped = new PaidOpenAI(openai())
    await wrapped.chat.completions.create({ model: 'priced-gpt', messages })
    await wrapped.responses.create({ model: 'priced-gpt', input: prompt })
  },
  async anthropic_wrapper() {
    const wrapped = new PaidAnthropic(claude())
    await wrapped.messages.create({ model: 'priced-claude', max_tokens: 9, messages })
  },
  async mistral_wrapper() {
    const wrapped = new PaidMistral(new Mistral({ apiKey: 'sk', serverURL: providers }))
    const document = { type: 'document_url', documentUrl: 'http://127.0.0.1/x.pdf' }
    await wrapped.ocr.process({ model: 'priced-ocr', document })
  },
  async langchain_callback() {
    const model = new ChatOpenAI({
      model: 'priced-gpt', apiKey: 'sk', configuration: { baseURL: `${providers}/openai` },
      callbacks: [new PaidLangChainCallback()],
    })
    await model.invoke(prompt)
  },
  async vercel_wrapper() {
    await paidVercelGenerateText({ model: gptModel(), prompt })
  },
  async vercel_telemetry() {
    const telemetry = { isEnabled: true, tracer: getPaidTracerProvider()?.getTracer('ai') }
    await generateText({ model: gptModel(), prompt, experimental_telemetry: telemetry })
    await generateText({ model: claudeModel(), prompt, experimental_telemetry: telemetry })
  },
  async openai_instrumented() {
    await paidAutoInstrumentModules({ openai: openaiModule.default })
    await openai().chat.completions.create({ model: 'priced-gpt', messages })
  },
  async anthropic_instrumented() {
    await paidAutoInstrumentModules({ anthropic: anthropicModule })
    await claude().messages.create({ model: 'priced-claude', max_tokens: 9, messages })
  },
}

async function main() {
  const traces = {}
  for (const name of workflows) {
    await trace({ externalCustomerId: customer, externalProductId: 'sdr' }, async () => {
      traces[name] = api.getActiveSpan().spanContext().traceId
      await works[name]()
      signal('done', true)
    })
  }
  console.log(JSON.stringify(traces))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
