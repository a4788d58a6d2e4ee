import { eventRoutes } from '../contracts/api/events.ts';
import { encode } from '../contracts/wire/codec.ts';
import { sign } from '../contracts/wire/mac.ts';
import { encodePosted } from '../contracts/wire/posted.ts';
import type { Writers } from '../intake/writers.ts';
import { TmError } from '../model/errors.ts';
import type { Transport } from '../transport/port.ts';

/** For agents that can't reach Kafka: the writers put a backup's change events there, signed as any. */
export function eventPoster(writers: Writers, backupId: string, macKey: Buffer): Pick<Transport, 'publish'> {
  return {
    async publish(topic, messages) {
      if (topic !== 'change-events') throw new TmError('TM1099', `an agent publishes no ${topic}`);
      for (const message of messages) {
        const { headers, value } = encode(message);
        const signed = { ...headers, mac: sign(topic, headers, value, macKey) };
        await writers.call(eventRoutes.postEvents, {
          params: { id: backupId },
          body: encodePosted({ headers: signed, value }),
        });
      }
    },
  };
}
