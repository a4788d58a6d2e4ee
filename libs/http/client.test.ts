import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { HttpClient } from './client.ts';
import { BINARY, defineRoute } from './route.ts';

const get = defineRoute({
  method: 'GET',
  path: '/v1/get',
  summary: 'Gives',
  reply: z.object({ n: z.number() }),
});
const post = defineRoute({ method: 'POST', path: '/v1/post', summary: 'Makes', body: z.object({}) });
const twice = defineRoute({
  ...{ method: 'POST', path: '/v1/twice', summary: 'Takes', body: BINARY, idempotent: true },
});
const bytes = defineRoute({ method: 'GET', path: '/v1/bytes', summary: 'Gives', reply: BINARY });

let server: Server;
let client: HttpClient;
let seen: string[];
afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

/** Answers requests by the script's lines, one each; the last one goes on. */
async function serve(...script: RequestListener[]): Promise<void> {
  seen = [];
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    seen.push(`${request.method} ${request.url} ${Buffer.concat(chunks)}`.trim());
    (script.length > 1 ? script.shift()! : script[0]!)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  connectTo((server.address() as AddressInfo).port);
}

let slept: number[];
function connectTo(port: number): void {
  let now = 0;
  slept = [];
  const sleep = async (milliseconds: number) => {
    slept.push(milliseconds);
    now += milliseconds;
  };
  client = new HttpClient({
    server: `http://127.0.0.1:${port}/`,
    deadline: 10_000,
    world: { now: () => now, sleep, random: () => 0.5 },
  });
}

const json: RequestListener = (_, response) => response.end('{"n":1}');
const cut: RequestListener = (request) => request.socket.destroy();
const problem =
  (status: number, code: string, headers = {}): RequestListener =>
  (_, response) => {
    const body = { type: 'x', title: 'x', status, code, guidance: 'x', detail: 'why' };
    response
      .writeHead(status, { 'content-type': 'application/problem+json', ...headers })
      .end(JSON.stringify(body));
  };

test('a server that is busy or away is asked again, with jitter and no sooner than it says', async () => {
  await serve(problem(429, 'TM1808', { 'retry-after': '3' }), problem(503, 'TM1301'), cut, json);
  expect(await client.call(get, {})).toEqual({ n: 1 });
  expect(slept).toEqual([3000, 100, 200]);
});

test('it is not asked beyond the deadline; the last error is told with its code and detail', async () => {
  await serve(problem(503, 'TM1808'));
  await expect(client.call(get, {})).rejects.toMatchObject({
    code: 'TM1808',
    message: expect.stringMatching(/why$/),
  });
  expect(slept.reduce((a, b) => a + b)).toBeLessThanOrEqual(10_000);
  expect(slept.length).toBeGreaterThan(5);
});

test('other refusals are final', async () => {
  await serve(problem(409, 'TM1502'));
  await expect(client.call(get, {})).rejects.toMatchObject({ code: 'TM1502' });
  expect(seen).toHaveLength(1);
});

test('a POST whose reply was lost is repeated only where it may come twice', async () => {
  await serve(cut);
  await expect(client.call(post, { body: {} })).rejects.toMatchObject({ code: 'TM1805' });
  expect(seen).toEqual(['POST /v1/post {}']);
  server.closeAllConnections();
  server.close();
  await serve(cut, (_, response) => response.writeHead(204).end());
  await client.call(twice, { body: [Buffer.from('a'), Buffer.from('b')] });
  expect(seen).toEqual(['POST /v1/twice ab', 'POST /v1/twice ab']);
});

test('a POST that never left is repeated', async () => {
  await serve(json);
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  connectTo(port);
  await expect(client.call(post, { body: {} })).rejects.toMatchObject({ code: 'TM1805' });
  expect(slept.length).toBeGreaterThan(5);
});

test('an answer of another kind is TM1806', async () => {
  await serve(
    (_, response) => response.end('<html>'),
    (_, response) => response.end('{"n":"one"}'),
    (_, response) => response.writeHead(418).end('teapot'),
    problem(400, 'TM9999'),
  );
  for (let n = 0; n < 4; n++) await expect(client.call(get, {})).rejects.toMatchObject({ code: 'TM1806' });
});

test('a reply over the limit is given up before memory is taken for it', async () => {
  await serve(
    (_, response) => response.writeHead(200, { 'content-length': 2 ** 40 }).write('x'),
    (_, response) => {
      const more = () => response.write(Buffer.alloc(65_536)) && setImmediate(more);
      response.on('drain', more);
      more();
    },
  );
  const maxReply = 1_000_000;
  for (let n = 0; n < 2; n++)
    await expect(client.call(bytes, {}, { maxReply })).rejects.toMatchObject({ code: 'TM1806' });
});

test('a reply that breaks off in the middle is TM1805, not a shorter one', async () => {
  await serve((_, response) => {
    response.writeHead(200, { 'content-length': 10 });
    response.write('half', () => response.destroy());
  });
  await expect(client.call(bytes, {}, { deadline: 0 })).rejects.toMatchObject({ code: 'TM1805' });
  const stream = await client.stream(bytes, {});
  await expect(Array.fromAsync(stream)).rejects.toMatchObject({ code: 'TM1805' });
});

test('a server that says nothing is TM1805 after the time-out; an interrupt is TM1508', async () => {
  await serve(() => {});
  await expect(client.call(get, {}, { timeout: 50, deadline: 0 })).rejects.toMatchObject({ code: 'TM1805' });
  const abort = new AbortController();
  const call = client.call(get, {}, { signal: abort.signal });
  abort.abort();
  await expect(call).rejects.toMatchObject({ code: 'TM1508' });
});
