import { TmError } from '../../../libs/model/errors.ts';
import { printPolicy } from '../../../libs/schedule/policy.ts';
import { type PolicyOptions, policyRequest } from '../../../libs/schedule/policy-options.ts';
import type { SourcePolicy } from '../../../libs/schedule/schedule-api.ts';
import type { Context } from '../context.ts';
import { rootToDisplay, rootToJson } from '../output.ts';
import { parseTags } from '../tags.ts';
import { withSchedule } from '../with-schedule.ts';

type Options = Omit<PolicyOptions, 'tags'> & { readonly tag?: string[] };

export async function policy(context: Context, args: string[], options: Options): Promise<number> {
  const [action, given, ...more] = args;
  const dir = given ?? context.settings.source;
  if (more.length > 0) throw new TmError('TM1001', `too many arguments: ${more.join(' ')}`);
  if (action === 'show') return show(context, dir);
  if (action !== 'set' && action !== 'remove')
    throw new TmError('TM1001', `unknown action ${action}: set, show and remove are there`);
  if (dir === undefined) throw new TmError('TM1001', `policy ${action}: say which folder`);
  return action === 'set' ? set(context, dir, options) : remove(context, dir);
}

async function set(context: Context, dir: string, { tag, ...options }: Options): Promise<number> {
  const tagged = tag ? { ...options, tags: parseTags(tag) } : options;
  const request = policyRequest(tagged, Intl.DateTimeFormat().resolvedOptions().timeZone);
  return withSchedule(context, true, async (schedule) => {
    print(context, await schedule.setPolicy(dir, request), 'summary');
    return 0;
  });
}

async function show(context: Context, dir: string | undefined): Promise<number> {
  return withSchedule(context, false, async (schedule) => {
    const policies = await schedule.policies(dir);
    for (const one of policies) print(context, one, 'policy');
    if (policies.length === 0)
      context.output.status('there is no policy; make one with `tidemark policy set DIR --full-every 7d`');
    return 0;
  });
}

async function remove(context: Context, dir: string): Promise<number> {
  return withSchedule(context, false, async (schedule) => {
    const removed = await schedule.removePolicy(dir);
    context.output.line({ type: 'summary', removed }, () =>
      removed ? 'the policy is removed; nothing is made by itself any more' : 'there was no policy',
    );
    return 0;
  });
}

function print({ output }: Context, { root, agent, policy }: SourcePolicy, type: 'policy' | 'summary'): void {
  output.line(
    { type, source: rootToJson(root), agent, policy },
    () => `${rootToDisplay(root)}: ${printPolicy(policy)}`,
  );
}
