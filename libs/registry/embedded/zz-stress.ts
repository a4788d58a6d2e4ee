import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { Command, query, TestHome } from './fixtures.suite.ts';
import { acquireEmbeddedPostgres, embeddedPostgresStatus } from './index.ts';

const h = new TestHome();
let pg = await acquireEmbeddedPostgres({ home: h.home });
await query(pg, 'create table t(n int)');
await pg.release();
let fails = 0,
  worst = 0,
  n = 0,
  expected = 0;
const end = performance.now() + Number(process.argv[2] ?? 60) * 1000;
const kill = (pid: number) => {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {}
};
while (performance.now() < end) {
  const cmds = [0, 1].map(() => new Command(h.home, { idleSeconds: Math.random() < 0.5 ? 0 : 0.05 }));
  await wait(100 + Math.random() * 200);
  for (const c of cmds)
    if (Math.random() < 0.7) await c.kill();
    else await Promise.race([c.end(), wait(2000)]);
  const r = Math.random();
  const sup = Number(readFileSync(h.registry + '/supervisor.lock', 'utf8'));
  const srv = (await embeddedPostgresStatus(h.home)).pid ?? 0;
  if (r < 0.2) kill(sup);
  else if (r < 0.4) kill(srv);
  else if (r < 0.5) {
    kill(sup);
    kill(srv);
  }
  if (r < 0.5) await wait(Math.random() * 30);
  const t = performance.now();
  try {
    pg = await acquireEmbeddedPostgres({ home: h.home, idleSeconds: 0 });
    const took = performance.now() - t;
    if (took > worst) worst = took;
    await query(pg, 'insert into t values (1)');
    expected++;
    const got = Number((await query(pg, 'select count(*) from t'))[0]![0]);
    if (got !== expected) {
      console.log('COUNT', got, expected);
      expected = got;
    }
    await pg.release();
  } catch (e) {
    fails++;
    console.log(n, r, String(e));
    await pg.release();
  }
  for (const c of cmds) await c.kill();
  n++;
}
console.log({ n, fails, worst });
await h.nothingRuns().catch((e) => console.log(String(e), h.processes()));
await h.dispose();
process.exit();
