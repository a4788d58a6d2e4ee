import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { TmError } from '../model/errors.ts';
import { bind } from './binding.ts';
import { openApiOf } from './openapi.ts';
import { ServerRig } from './rig.suite.ts';
import { BINARY, defineRoute } from './route.ts';

const INSTANCE = '00112233-4455-6677-8899-aabbccddeeff';
const READER = 'tm_reader_r1_x';
const ADMIN = 'tm_admin_d1_x';
const AGENT = 'tm_agent_a1_x';

const echo = defineRoute({
  method: 'POST',
  path: '/v1/things/:id',
  roles: ['reader', 'agent'],
  summary: 'Echoes',
  params: z.object({ id: z.coerce.number<string | number>().int() }),
  query: z.object({ depth: z.coerce.number<string | number>().max(9).default(1) }),
  body: z.object({ name: z.string(), list: z.array(z.object({ n: z.number() })) }),
  reply: z.object({
    id: z.number(),
    depth: z.number(),
    name: z.string(),
    who: z.string(),
    at: z.codec(z.iso.datetime(), z.date(), {
      decode: (text) => new Date(text),
      encode: (date) => date.toISOString(),
    }),
  }),
});
const adminOnly = defineRoute({
  method: 'DELETE',
  path: '/v1/things/:id',
  roles: ['admin'],
  summary: 'Removes',
  params: z.object({ id: z.string() }),
});
const open = defineRoute({ method: 'GET', path: '/v1/open', summary: 'Open', reply: z.object({}) });
const upload = defineRoute({
  method: 'PUT',
  path: '/v1/upload',
  roles: ['agent'],
  summary: 'Takes bytes',
  body: BINARY,
  reply: z.object({ bytes: z.number() }),
  maxBody: 1000,
});
const download = defineRoute({
  method: 'GET',
  path: '/v1/download',
  roles: ['reader'],
  summary: 'Gives bytes',
  reply: BINARY,
});
const AT = new Date('2026-11-23T10:15:00Z');

let rig: ServerRig;
afterEach(() => rig.close());

const echoing = bind(echo, async ({ params, query, body, principal }) => ({
  ...{ id: params.id, depth: query.depth, name: body.name, who: principal.kind, at: AT },
  ...{ secret: 'source key' },
}));
const uploading = bind(upload, async ({ body }) => ({ bytes: (await body.bytes()).length }));

async function start(
  bindings: Parameters<typeof ServerRig.start>[0],
  deps: Parameters<typeof ServerRig.start>[1] = {},
): Promise<ServerRig> {
  rig = await ServerRig.start(bindings, deps);
  for (const token of [READER, ADMIN, AGENT]) rig.tokens.add(token);
  return rig;
}

const code = (error: string) => expect.objectContaining({ code: error });
const input = { params: { id: 7 }, query: {}, body: { name: 'é', list: [] } };

test('parameters, query and body come parsed; a reply holds what its schema names and nothing else', async () => {
  await start([echoing]);
  expect(await rig.client(READER).call(echo, { ...input, query: { depth: 3 } })).toEqual({
    ...{ id: 7, depth: 3, name: 'é', who: 'reader', at: AT },
  });
  const raw = await fetch(`${rig.url}/v1/things/7`, {
    method: 'POST',
    headers: { authorization: `Bearer ${READER}` },
    body: JSON.stringify(input.body),
  });
  expect(raw.headers.get('content-type')).toMatch(/^application\/json/);
  expect(await raw.text()).not.toContain('source key');
});

test('what is not valid is TM1807 with its place', async () => {
  await start([echoing]);
  const client = rig.client(READER);
  const list = [{ n: 1 }, { n: 'x' as never }];
  const bad = [
    [{ ...input, params: { id: 'x' } }, 'path.id:'],
    [{ ...input, query: { depth: 10 } }, 'query.depth:'],
    [{ ...input, body: { name: 'x', list } }, 'body.list.1.n:'],
  ] as const;
  for (const [given, place] of bad) {
    const failure = client.call(echo, given);
    await expect(failure).rejects.toThrow(code('TM1807'));
    await expect(failure).rejects.toThrow(place);
  }
  const noJson = await rig.raw(
    `POST /v1/things/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${READER}\r\nContent-Length: 1\r\n\r\n{`,
  );
  expect(noJson).toContain('body: no JSON');
});

test('who has no accepted token is TM1801, one of another role TM1802, an admin may what a reader may', async () => {
  await start([echoing, bind(adminOnly, async () => undefined), bind(open, async () => ({}))]);
  await expect(rig.client().call(echo, input)).rejects.toThrow(code('TM1801'));
  await expect(rig.client('tm_reader_r1_y').call(echo, input)).rejects.toThrow(code('TM1801'));
  await expect(rig.client(READER).call(adminOnly, { params: { id: 'x' } })).rejects.toThrow(code('TM1802'));
  await rig.client(ADMIN).call(adminOnly, { params: { id: 'x' } });
  expect((await rig.client(ADMIN).call(echo, input)).who).toBe('admin');
  expect(await rig.client().call(open, {})).toEqual({});
  rig.tokens.tokens.delete(READER);
  await expect(rig.client(READER).call(echo, input)).rejects.toThrow(code('TM1801'));
});

test('an agent has to name its instance', async () => {
  await start([echoing]);
  const failure = rig.client(AGENT).call(echo, input);
  await expect(failure).rejects.toThrow(code('TM1807'));
  await expect(failure).rejects.toThrow('Tidemark-Instance');
  await expect(rig.client(AGENT, { instance: 'x' }).call(echo, input)).rejects.toThrow(code('TM1807'));
  expect((await rig.client(AGENT, { instance: INSTANCE }).call(echo, input)).who).toBe('agent');
});

test('an error of the server tells its code and guidance, not what happened inside', async () => {
  const errors = [new Error('password=hunter2'), new TmError('TM1301', '/secret/socket')];
  await start([
    bind(open, async () => {
      throw errors.shift();
    }),
  ]);
  const first = await fetch(`${rig.url}/v1/open`);
  expect(first.status).toBe(500);
  expect(first.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const text = await first.text();
  expect(JSON.parse(text)).toMatchObject({ code: 'TM1099', status: 500, type: 'urn:tidemark:error:TM1099' });
  expect(text).not.toContain('hunter2');
  const second = await fetch(`${rig.url}/v1/open`);
  expect(second.status).toBe(503);
  expect(await second.text()).not.toContain('secret');
});

test('a body that is too large is refused before it is read, one without a stated length when it gets there', async () => {
  let handled = 0;
  await start([
    bind(upload, async ({ body }) => {
      handled++;
      return { bytes: (await body.bytes()).length };
    }),
  ]);
  const client = rig.client(AGENT, { instance: INSTANCE });
  expect(await client.call(upload, { body: [Buffer.alloc(400), Buffer.alloc(600)] })).toEqual({
    bytes: 1000,
  });
  await expect(client.call(upload, { body: Buffer.alloc(1001) })).rejects.toThrow(code('TM1809'));
  await expect(client.call(upload, { body: Buffer.alloc(64 * 1024 * 1024) })).rejects.toThrow(code('TM1809'));
  expect(handled).toBe(1);
  const head = `PUT /v1/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${AGENT}\r\nTidemark-Instance: ${INSTANCE}\r\n`;
  const chunked = await rig.raw(`${head}Transfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(0x800)}\r\n`);
  expect(chunked).toContain('TM1809');
});

test('a slow-loris body ends with TM1810, slow headers with 408, and both connections are closed', async () => {
  await start([uploading], { limits: { idle: 150, headers: 150 } });
  const head = `PUT /v1/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${AGENT}\r\nTidemark-Instance: ${INSTANCE}\r\n`;
  expect(await rig.raw(`${head}Content-Length: 100\r\n\r\nabc`)).toContain('TM1810');
  expect(await rig.raw('GET /v1/open HTTP/1.1\r\nHo')).toContain('408');
});

test('who asks too often gets 429 with the time to wait; another one is served meanwhile', async () => {
  let now = 0;
  await start([echoing], { rate: { perSecond: 1, burst: 2 }, now: () => now });
  const client = rig.client(READER);
  await client.call(echo, input);
  await client.call(echo, input);
  await expect(client.call(echo, input)).rejects.toMatchObject({
    code: 'TM1808',
    status: 429,
    retryAfter: 1000,
  });
  await rig.client(ADMIN).call(echo, input);
  now = 1000;
  await client.call(echo, input);
});

test('who guesses tokens is held off', async () => {
  await start([echoing], { now: () => 0 });
  const client = rig.client('tm_reader_r1_guess');
  for (let n = 0; n < 20; n++) await expect(client.call(echo, input)).rejects.toThrow(code('TM1801'));
  await expect(client.call(echo, input)).rejects.toMatchObject({ code: 'TM1808', status: 429 });
});

test('of a heavy route only so many requests are handled at once; the rest is TM1808, and room comes back', async () => {
  const gate = Promise.withResolvers<void>();
  const inside = Promise.withResolvers<void>();
  const handle = async () => {
    inside.resolve();
    await gate.promise;
    return {};
  };
  await start([bind(open, handle, { concurrent: 1 })]);
  const first = rig.client().call(open, {});
  await inside.promise;
  await expect(rig.client().call(open, {})).rejects.toMatchObject({ code: 'TM1808', status: 503 });
  gate.resolve();
  await first;
  await rig.client().call(open, {});
});

test('the handler of a client that went away is told', async () => {
  const entered = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const handle = async ({ signal }: { signal: AbortSignal }) => {
    signal.addEventListener('abort', () => gone.resolve(), { once: true });
    entered.resolve();
    await gone.promise;
    return {};
  };
  await start([bind(open, handle)]);
  const abort = new AbortController();
  const call = rig.client().call(open, {}, { signal: abort.signal });
  await entered.promise;
  abort.abort();
  await expect(call).rejects.toThrow(code('TM1508'));
  await gone.promise;
});

test('a reply of bytes is made no faster than it is taken, and its maker is ended when the client goes', async () => {
  let made = 0;
  const ended = Promise.withResolvers<void>();
  const pieces = async function* () {
    try {
      for (;;) {
        made++;
        yield Buffer.alloc(1024 * 1024);
      }
    } finally {
      ended.resolve();
    }
  };
  await start([bind(download, async () => pieces())]);
  const stream = await rig.client(READER).stream(download, {});
  expect((await stream.next()).value!.length).toBeGreaterThan(0);
  // What sockets and streams hold between them; without back-pressure it would never stop.
  let before = -1;
  while (before !== made) {
    before = made;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(made).toBeLessThan(40);
  await stream.return(undefined);
  await ended.promise;
});

test('what fails before the first byte is a problem, what fails later cuts the connection', async () => {
  const pieces = async function* (before: number) {
    for (let n = 0; n < before; n++) yield Buffer.from('piece');
    throw new TmError('TM1704', 'not there');
  };
  const counts = [0, 1];
  await start([bind(download, async () => pieces(counts.shift()!))]);
  const client = rig.client(READER);
  await expect(client.call(download, {})).rejects.toThrow(code('TM1704'));
  await expect(client.call(download, {})).rejects.toThrow(code('TM1805'));
});

test('a client that stops taking its reply is cut off, one that has it all and asks no more is closed', async () => {
  const ended = Promise.withResolvers<void>();
  const pieces = async function* () {
    try {
      for (;;) yield Buffer.alloc(1024 * 1024);
    } finally {
      ended.resolve();
    }
  };
  const replies = [pieces(), Buffer.from('all')];
  await start([bind(download, async () => replies.shift()!)], { limits: { idle: 200, keepAlive: 200 } });
  const stream = await rig.client(READER).stream(download, {});
  await stream.next();
  await ended.promise; // nobody takes any more, and nobody went away
  await expect(Array.fromAsync(stream)).rejects.toThrow(code('TM1805'));
  const head = `GET /v1/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${READER}\r\n\r\n`;
  expect(await rig.raw(head)).toMatch(/all$/);
});

test('the OpenAPI document names routes, parameters, bodies and problems', () => {
  const document = openApiOf([echo, adminOnly, open, upload, download], { title: 'Tidemark', version: '1' });
  expect(document).toMatchObject({
    openapi: '3.1.0',
    paths: {
      '/v1/things/{id}': {
        post: {
          parameters: [
            { name: 'id', in: 'path', required: true, schema: { type: 'integer' } },
            { name: 'depth', in: 'query', required: false },
            { name: 'Tidemark-Instance', in: 'header' },
          ],
          requestBody: { content: { 'application/json': { schema: { required: ['name', 'list'] } } } },
          responses: { 200: {}, default: {} },
          security: [{ token: [] }],
        },
        delete: { responses: { 204: {} } },
      },
      '/v1/open': { get: { responses: { 200: {} } } },
      '/v1/upload': { put: { requestBody: { content: { 'application/octet-stream': {} } } } },
    },
    components: { schemas: { Problem: { required: expect.arrayContaining(['code', 'guidance']) } } },
  });
});
