// Jobs a second through BullMQ, from the first that is added to the last that is completed, with workers that do nothing.
//
//   node bench.mjs MODULES PORT JOBS AT_ONCE CONCURRENCY
//
// MODULES is the folder of node_modules, PORT that of a Redis on loopback. With AT_ONCE 1 jobs are added one by one, else
// in so large batches (addBulk). It prints the rate alone.
import { createRequire } from 'node:module';

const [modules, port, jobs, atOnce, concurrency] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const require = createRequire(`${modules}/`);
const { Queue, Worker } = require('bullmq');

const ADDING = 32;
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const queue = new Queue(`bench-${atOnce}`, { connection });
await queue.waitUntilReady();

let done = 0;
let finish;
const finished = new Promise((resolve) => { finish = resolve; });
const workers = Array.from({ length: 4 }, () => new Worker(queue.name, async () => {}, { connection, concurrency }));
for (const worker of workers) {
  worker.on('completed', () => { done += 1; if (done === jobs) finish(); });
  worker.on('error', (error) => { console.error(error); process.exit(1); });
}
await Promise.all(workers.map((worker) => worker.waitUntilReady()));

const job = (number) => ({ name: 'noop', data: { number } });
const begun = process.hrtime.bigint();
let next = 0;
async function add() {
  while (next < jobs) {
    const first = next;
    next += atOnce;
    if (atOnce === 1) await queue.add('noop', { number: first });
    else await queue.addBulk(Array.from({ length: Math.min(atOnce, jobs - first) }, (_, i) => job(first + i)));
  }
}
await Promise.all(Array.from({ length: atOnce === 1 ? ADDING : 4 }, add));
await finished;
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
console.log((jobs / seconds).toFixed(0));
await Promise.all(workers.map((worker) => worker.close()));
await queue.close();
