// The image's health check: exit status 0 while the service says that it is ready. The image has neither curl nor wget.
const TIMEOUT_MS = 4000;
const port = (process.env.TIDEMARK_LISTEN ?? '0.0.0.0:8080').split(':').at(-1);

const reason = await fetch(`http://127.0.0.1:${port}/health/ready`, {
  signal: AbortSignal.timeout(TIMEOUT_MS),
})
  .then(async (reply) => (reply.ok ? undefined : `${reply.status} ${await reply.text()}`))
  .catch((error) => String(error.cause ?? error));
if (reason !== undefined) {
  process.stdout.write(`${reason}\n`);
  process.exitCode = 1;
}
