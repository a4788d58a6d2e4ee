import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 200;
const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly cpuSeconds: number;
}

/** CPU seconds and peak of memory (summed PSS) by name of service. */
export type Usage = Readonly<Record<string, { readonly cpu: number; readonly peakMb: number }>>;

/** Undefined where the process has ended meanwhile. */
function tryRead(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Of children that it has waited for too: a server of Postgres ends with its connection. */
function processOf(pid: number): Process | undefined {
  const text = tryRead(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const ticks = fields.slice(11, 15).reduce((sum, one) => sum + one, 0);
  return { pid, parent: fields[1]!, cpuSeconds: ticks / TICKS };
}

const processes = (): Process[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processOf(Number(name)) ?? []);

function pssMb(pid: number): number {
  const kb = /^Pss:\s+(\d+)/m.exec(tryRead(`/proc/${pid}/smaps_rollup`) ?? '')?.[1];
  return Number(kb ?? 0) / 1024;
}

/** Measures what the processes of a stack use, the brokers and database servers that it started included. */
export class ProcessWatch {
  readonly #services: () => ReadonlyMap<number, string>;
  readonly #folder: string;
  readonly #peaks = new Map<string, number>();
  readonly #before = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  /** `services`: names of processes by pid; `folder`: what the command lines of all others name. */
  constructor(services: () => ReadonlyMap<number, string>, folder: string) {
    this.#services = services;
    this.#folder = folder;
  }

  #named(): Map<string, Process[]> {
    const all = new Map(processes().map((one) => [one.pid, one]));
    const names = new Map(this.#services());
    for (const { pid } of all.values()) {
      const line = tryRead(`/proc/${pid}/cmdline`);
      if (pid !== process.pid && !names.has(pid) && line?.includes(this.#folder))
        names.set(pid, line.startsWith('java') ? 'Kafka' : 'Postgres');
    }
    const nameOf = ({ pid, parent }: Process) =>
      names.get(pid) ?? (names.get(parent) === 'Postgres' ? 'Postgres' : undefined);
    const named = new Map<string, Process[]>();
    for (const one of all.values()) {
      const name = nameOf(one);
      if (name !== undefined) named.set(name, [...(named.get(name) ?? []), one]);
    }
    return named;
  }

  #cpu(): Map<string, number> {
    const total = (group: readonly Process[]) => group.reduce((sum, one) => sum + one.cpuSeconds, 0);
    return new Map([...this.#named()].map(([name, group]) => [name, total(group)]));
  }

  start(): void {
    this.#peaks.clear();
    for (const [name, seconds] of this.#cpu()) this.#before.set(name, seconds);
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  #sample(): void {
    for (const [name, group] of this.#named()) {
      const mb = group.reduce((sum, { pid }) => sum + pssMb(pid), 0);
      this.#peaks.set(name, Math.max(this.#peaks.get(name) ?? 0, mb));
    }
  }

  stop(): Usage {
    clearInterval(this.#timer);
    this.#sample();
    return Object.fromEntries(
      [...this.#cpu()].map(([name, seconds]) => {
        const cpu = seconds - (this.#before.get(name) ?? 0);
        return [name, { cpu, peakMb: this.#peaks.get(name) ?? 0 }];
      }),
    );
  }
}
