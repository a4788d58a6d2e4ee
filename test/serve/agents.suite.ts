import { mkdirSync } from 'node:fs';
import type { Rig } from '../rebuild/rig.ts';
import { freePort } from '../services/free-port.ts';
import { ServiceProcess } from '../services/stack.ts';
import type { ServeProcess } from './serve-process.ts';

/** A host's agent as a process of its own, enrolled at `serve` with a token that the command made. */
export async function startAgent(
  rig: Rig,
  serve: Pick<ServeProcess, 'url'>,
  name: string,
  env: NodeJS.ProcessEnv = {},
): Promise<ServiceProcess> {
  const { token } = rig.done('home', 'token', 'enrol', '--name', name).last;
  const home = rig.path(name);
  mkdirSync(home, { mode: 0o700 });
  const port = await freePort();
  const agent = new ServiceProcess('fs-monitor-agent', port, rig.path(`${name}.log`), {
    PATH: process.env.PATH,
    TIDEMARK_SERVER: serve.url,
    TIDEMARK_HOME: home,
    TIDEMARK_AGENT_NAME: name,
    TIDEMARK_ENROL_TOKEN: String(token),
    ...env,
  });
  agent.start();
  await agent.ready();
  return agent;
}
