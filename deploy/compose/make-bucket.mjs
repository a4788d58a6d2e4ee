// make-bucket.mjs URL NAME: waits for the emulator and makes the bucket, unless it is there.
import { setTimeout } from 'node:timers/promises';

const WAIT_MS = 60_000;
const [, , url, name] = process.argv;
const bucket = `${url}/storage/v1/b/${name}`;
const end = performance.now() + WAIT_MS;

for (;;) {
  const reply = await fetch(bucket).catch((error) => error);
  if (reply instanceof Response && (reply.ok || reply.status === 404)) {
    if (reply.ok) break;
    const headers = { 'content-type': 'application/json' };
    const made = await fetch(`${url}/storage/v1/b?project=demo`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ name }),
    });
    if (!made.ok) throw new Error(`${made.status} ${await made.text()}`);
    process.stdout.write(`made bucket ${name}\n`);
    break;
  }
  if (performance.now() > end) throw new Error(`${url} does not answer`, { cause: reply });
  await setTimeout(200);
}
