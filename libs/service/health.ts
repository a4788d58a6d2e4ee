/** Something that a service needs to be useful. `check` throws what is wrong. */
export interface Dependency {
  readonly name: string;
  readonly check: () => Promise<void>;
}

export interface Health {
  readonly status: 'ok' | 'failing' | 'stopping';
  /** `ok`, or what is wrong. */
  readonly checks: Readonly<Record<string, string>>;
}

const TIMEOUT_MS = 3000;

/** Asks all dependencies at once; one that does not answer in time counts as failing. */
export async function healthOf(dependencies: readonly Dependency[]): Promise<Health> {
  const checks = await Promise.all(
    dependencies.map(async ({ name, check }) => [name, await outcome(check)] as const),
  );
  const isOk = checks.every(([, text]) => text === 'ok');
  return { status: isOk ? 'ok' : 'failing', checks: Object.fromEntries(checks) };
}

async function outcome(check: () => Promise<void>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
  });
  try {
    await Promise.race([check(), late]);
    return 'ok';
  } catch (error) {
    return (error as Error).message;
  } finally {
    clearTimeout(timer);
  }
}
