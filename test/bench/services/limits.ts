import { execFileSync } from 'node:child_process';

/** Seconds of wall and of CPU. */
export interface Seconds {
  readonly wall: number;
  readonly cpu: number;
}

/** Minutes and seconds of the shell's `times`. */
const secondsIn = (text: string): number =>
  [...text.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0);

/** Runs a shell command; CPU of all its processes. */
function timed(command: string, env: NodeJS.ProcessEnv): Seconds {
  const started = performance.now();
  const output = execFileSync('/bin/sh', ['-c', `${command}\ntimes`], { env, encoding: 'utf8' });
  const wall = (performance.now() - started) / 1000;
  return { wall, cpu: secondsIn(output.trim().split('\n').at(-1)!) };
}

/** What the machine itself needs for the tree in these minutes. */
export function limitsOf(tree: string): { readonly tar: Seconds; readonly find: Seconds } {
  const env = { ...process.env, TREE: tree };
  return {
    tar: timed('tar --xattrs -C "$TREE" -c . | zstd -q -1 -T2 >/dev/null', env),
    find: timed(`find "$TREE" -printf '%p %s %T@ %m %i %n\\n' >/dev/null`, env),
  };
}
