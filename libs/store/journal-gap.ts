import { z } from 'zod';
import { once, openObject, whole } from './open-object.ts';

/**
 * A place where a writer's chain is broken: what lay between the objects `after` (0: the chain's beginning) and `before`
 * is lost, or, where they are neighbours, `before` does not follow `after`.
 */
export const JournalGap = once(() =>
  openObject({
    writer: z.string().min(1),
    after: whole,
    before: whole.positive(),
  }),
);
export type JournalGap = z.infer<ReturnType<typeof JournalGap>>;

/** Whether all that is broken in `found` was so when an owner said it of one of its `gaps`. */
export const isKnownGap = (gaps: readonly JournalGap[], found: JournalGap): boolean =>
  gaps.some(
    ({ writer, after, before }) => writer === found.writer && after <= found.after && found.before <= before,
  );
