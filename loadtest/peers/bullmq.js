// The workflow 1 -> 5 -> 25 -> 1 in BullMQ: `bullmq.js worker`, or `bullmq.js measure ALONE SATURATED`.
// A flow is a tree that is known beforehand: its root runs last, so that the stitch is the root and the outline is not a job.
const { FlowProducer, QueueEvents, Worker } = require('bullmq');
const { randomUUID } = require('crypto');

const address = new URL(process.env.PEER_REDIS);
const connection = {
  host: address.hostname, port: Number(address.port), password: address.password, db: 6, maxRetriesPerRequest: null,
};
const CHAPTERS = 5;
const SEGMENTS = 5;
const CONCURRENCY = 50;

function work() {
  new Worker('speech', async () => 1, { connection, concurrency: CONCURRENCY });
  new Worker('script', async () => 1, { connection, concurrency: CONCURRENCY });
  new Worker('stitch', async (job) => Object.keys(await job.getChildrenValues()).length, { connection, concurrency: CONCURRENCY });
}

const many = (count, make) => Array.from({ length: count }, (_, index) => make(index));

function flow(id) {
  const speech = (segment) => ({ name: 'speech', queueName: 'speech', data: { segment } });
  const script = (chapter) => ({ name: 'script', queueName: 'script', data: { chapter }, children: many(SEGMENTS, speech) });
  return { name: 'stitch', queueName: 'stitch', data: {}, opts: { jobId: id }, children: many(CHAPTERS, script) };
}

async function measure(alone, saturated) {
  const flows = new FlowProducer({ connection });
  const events = new QueueEvents('stitch', { connection });
  await events.waitUntilReady();
  const waiting = new Map();
  events.on('completed', ({ jobId, returnvalue }) => {
    if (Number(returnvalue) !== CHAPTERS) throw new Error(`${returnvalue} chapters`);
    waiting.get(jobId)?.();
    waiting.delete(jobId);
  });
  const end = (id) => new Promise((resolve) => waiting.set(id, resolve));
  const one = async () => {
    const id = `w-${randomUUID()}`;
    const ended = end(id);
    await flows.add(flow(id));
    await ended;
  };
  for (let i = 0; i < 3; i += 1) await one();
  const took = [];
  for (let i = 0; i < alone; i += 1) {
    const started = performance.now();
    await one();
    took.push(performance.now() - started);
  }
  took.sort((a, b) => a - b);
  const ids = many(saturated, () => `w-${randomUUID()}`);
  const ends = ids.map(end);
  const started = performance.now();
  await flows.addBulk(ids.map(flow));
  await Promise.all(ends);
  const rate = saturated / ((performance.now() - started) / 1000);
  console.log(JSON.stringify({ alone_ms: took[took.length >> 1], per_second: rate }));
  process.exit(0);
}

if (process.argv[2] === 'worker') work();
else measure(Number(process.argv[3]), Number(process.argv[4]));
