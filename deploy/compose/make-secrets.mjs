// First step of the compose stack: passwords of the registry, the administrator's token, and age
// recipients. What is there stays as it is.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';

const FOLDER = '/run/tidemark';
const [SUPERUSER, PASSWORD, URL] = ['superuser', 'password', 'url'].map(
  (name) => `${FOLDER}/registry/${name}`,
);
const IDENTITY = `${FOLDER}/identity/identity`;
const RECIPIENTS = `${FOLDER}/recipients/recipients`;
const ADMIN = `${FOLDER}/admin/token`;
const FOR_ITS_OWNER = 0o600;

/** All or nothing, whenever it is killed: a half-written password would lock everybody out. */
async function write(path, text) {
  const file = await open(`${path}.new`, 'w', FOR_ITS_OWNER);
  await file.writeFile(`${text}\n`);
  await file.sync();
  await file.close();
  await rename(`${path}.new`, path);
  process.stdout.write(`made ${path}\n`);
}

const makeOnce = async (path, make) => existsSync(path) || write(path, await make());
const read = async (path) => (await readFile(path, 'utf8')).trim();
const password = () => randomBytes(24).toString('base64url');

await makeOnce(SUPERUSER, password);
await makeOnce(PASSWORD, password);
await makeOnce(URL, async () => `postgres://tidemark:${await read(PASSWORD)}@postgres/tidemark`);
await makeOnce(ADMIN, password);

const given = process.env.TIDEMARK_RECIPIENTS;
if (given) await write(RECIPIENTS, given);
else {
  await makeOnce(IDENTITY, generateX25519Identity);
  await makeOnce(RECIPIENTS, async () => identityToRecipient(await read(IDENTITY)));
}
