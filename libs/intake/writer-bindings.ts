import { writerRoutes } from '../contracts/api/writer.ts';
import { type Binding, bind } from '../http/binding.ts';
import type { IntakeService } from './intake-service.ts';
import type { ReadBack } from './read-back.ts';

/** Requests that hold megabytes each. */
const UPLOADS = 16;
const DOWNLOADS = 16;

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** The storage writer's routes, answered. */
export function writerBindings(intake: IntakeService, readBack: ReadBack): Binding[] {
  const { missing, putKey, putFrames, locate, readPack, content } = writerRoutes;
  return [
    bind(missing, async ({ principal, params, body }) =>
      intake.missing(principal, params.id, await body.bytes()),
    ),
    bind(putKey, async ({ principal, params, body }) => {
      await intake.putKey(principal, params.id, bytes(params.keyId), await body.bytes());
    }),
    bind(putFrames, async ({ principal, params, body }) => intake.putFrames(principal, params.id, body), {
      concurrent: UPLOADS,
    }),
    bind(locate, async ({ principal, params, body }) =>
      readBack.locate(principal, params.id, await body.bytes()),
    ),
    bind(
      readPack,
      async ({ principal, params, query }) =>
        readBack.readPack(principal, params.id, bytes(params.pack), query),
      { concurrent: DOWNLOADS },
    ),
    bind(
      content,
      async ({ principal, params, query }) =>
        readBack.content(principal, params.id, Buffer.from(query.path, 'base64url')),
      { concurrent: DOWNLOADS },
    ),
  ];
}
