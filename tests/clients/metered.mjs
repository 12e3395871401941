// A program with AgentBill's meter() for Node. Prints what happened as one JSON object.
import { meter } from 'agentbill'

const customerId = process.argv[2]
const found = {}
const report = meter(async ({ pages }) => pages, {
  event: 'report', customerIdFrom: 'customerId', units: (pages) => pages, metadata: { k: 'v' },
})
const guarded = meter(async () => 'ran', { event: 'guarded', customerIdFrom: 'customerId', preflight: true })

found.first = await report({ customerId, pages: 3 })
found.guarded = await guarded({ customerId })
found.to_the_end = await report({ customerId, pages: 2000 })
found.beyond = await report({ customerId, pages: 1 }).catch((error) => error.name)
found.blocked = await guarded({ customerId }).catch((error) => error.name)
console.log(JSON.stringify(found))
