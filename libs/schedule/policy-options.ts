import { parseArgs } from 'node:util';
import { TmError } from '../model/errors.ts';
import { type Policy, type PolicyRequest, parsePolicy, parsePolicyRequest } from './policy.ts';

export interface PolicyOptions {
  readonly fullEvery?: string;
  readonly differentialEvery?: string;
  readonly differentialAfterFull?: boolean;
  readonly timeZone?: string;
  readonly jitter?: string;
  readonly window?: string;
  readonly exclude?: string[];
  readonly tags?: Readonly<Record<string, string>>;
  readonly paused?: boolean;
  readonly watchEvery?: string;
  readonly recoveryPoint?: string;
}

/** What `policy set` asks for; whether the values make sense is the policy's own to say. `zone`: this host's time zone. */
export function policyRequest(options: PolicyOptions, zone: string): PolicyRequest {
  const { fullEvery, differentialEvery, jitter, exclude, tags } = options;
  const timeZone = options.timeZone ?? zone;
  const request: PolicyRequest = {
    ...(fullEvery === undefined ? {} : { full: scheduleOf(fullEvery, timeZone) }),
    ...(differentialEvery === undefined ? {} : { differential: scheduleOf(differentialEvery, timeZone) }),
    ...(options.differentialAfterFull ? { differentialAfterFull: true } : {}),
    ...(jitter === undefined ? {} : { jitter }),
    ...(options.window === undefined ? {} : { window: windowOf(options.window, timeZone) }),
    ...(exclude ? { excludes: exclude } : {}),
    ...(tags ? { tags } : {}),
    ...(options.paused ? { paused: true } : {}),
    ...watchOf(options),
  };
  if (!request.full && !request.differential && !request.differentialAfterFull && !request.watch)
    throw new TmError(
      'TM1001',
      'say what is to be made: --full-every, --differential-every or --differential-after-full; or what holds for `watch`: --watch-every, --recovery-point',
    );
  return request;
}

function watchOf({ watchEvery: every, recoveryPoint }: PolicyOptions): Pick<PolicyRequest, 'watch'> {
  if (every === undefined && recoveryPoint === undefined) return {};
  return {
    watch: { ...(every !== undefined && { every }), ...(recoveryPoint !== undefined && { recoveryPoint }) },
  };
}

/** A cron expression has blanks, a span has none. */
const scheduleOf = (text: string, timeZone: string): NonNullable<PolicyRequest['full']> =>
  text.trim().includes(' ') ? { cron: text.trim(), timeZone } : { every: text };

function windowOf(text: string, timeZone: string): NonNullable<PolicyRequest['window']> {
  const [from, to, ...more] = text.split('-');
  if (!from || !to || more.length > 0)
    throw new TmError('TM1002', `--window ${text}: expected are two times of day such as 22:00-06:00`);
  return { from, to, timeZone };
}

const WORDS = {
  'full-every': { type: 'string' },
  'differential-every': { type: 'string' },
  'differential-after-full': { type: 'boolean' },
  'time-zone': { type: 'string' },
  jitter: { type: 'string' },
  window: { type: 'string' },
  exclude: { type: 'string', multiple: true },
  'watch-every': { type: 'string' },
  'recovery-point': { type: 'string' },
} as const;

/**
 * A policy as one text, for configuration: JSON, or options of `policy set` (what has blanks in double quotes). It counts
 * from a fixed moment, so that whoever reads it plans the same. Throws TM1812.
 */
export function parsePolicyText(text: string, zone: string): Policy {
  const request = parsePolicyRequest(text.trim().startsWith('{') ? jsonOf(text) : requestOf(text, zone));
  const { full, differential, ...rest } = request;
  const from = new Date(0).toISOString();
  return parsePolicy({
    ...rest,
    ...(full && { full: { ...full, from } }),
    ...(differential && { differential: { ...differential, from } }),
    since: from,
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TmError('TM1812', `no JSON: ${(cause as Error).message}`, { cause });
  }
}

function requestOf(text: string, zone: string): PolicyRequest {
  const args = [...text.matchAll(/"([^"]*)"|[^\s"]+/g)].map(([word, quoted]) => quoted ?? word);
  try {
    const { values } = parseArgs({ args, options: WORDS, strict: true, allowPositionals: false });
    return policyRequest(
      {
        ...values,
        ...(values['full-every'] && { fullEvery: values['full-every'] }),
        ...(values['differential-every'] && { differentialEvery: values['differential-every'] }),
        ...(values['differential-after-full'] && { differentialAfterFull: true }),
        ...(values['time-zone'] && { timeZone: values['time-zone'] }),
        ...(values['watch-every'] && { watchEvery: values['watch-every'] }),
        ...(values['recovery-point'] && { recoveryPoint: values['recovery-point'] }),
      },
      zone,
    );
  } catch (cause) {
    throw new TmError('TM1812', (cause as Error).message, { cause });
  }
}
