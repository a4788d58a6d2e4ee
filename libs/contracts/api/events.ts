import { z } from 'zod';
import { BINARY, defineRoute } from '../../http/route.ts';
import { MAX_POSTED_BYTES } from '../wire/posted.ts';

/** The way to the topics for agents that don't reach Kafka. */
export const eventRoutes = {
  postEvents: defineRoute({
    method: 'POST',
    path: '/v1/backups/:id/events',
    roles: ['agent'],
    summary:
      'One change-events message of an open backup (u32 length of the headers as JSON, those, value); on the topic when answered',
    params: z.object({ id: z.uuid() }),
    body: BINARY,
    maxBody: MAX_POSTED_BYTES,
    idempotent: true,
  }),
};
