import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import type { Handler, Topic, Transport } from '../transport/port.ts';

/**
 * Hands whole batches of a topic to the handler that is marked `@EventPattern(topic)`, over any transport of ours. Nest's
 * own Kafka server would take messages one by one, and pass over those whose handler failed.
 */
export class MessageStrategy extends Server implements CustomTransportStrategy {
  override readonly propagatesEventHandlerErrors = true;
  readonly #transport: Transport;

  constructor(transport: Transport) {
    super();
    this.#transport = transport;
  }

  async listen(callback: (error?: unknown) => void): Promise<void> {
    for (const [pattern, handler] of this.messageHandlers) {
      const handle: Handler<Topic> = async (messages) => {
        const result: unknown = await handler(messages, undefined);
        if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined }); // its error is the stream's
      };
      await this.#transport.subscribe(pattern as Topic, handle);
    }
    callback();
  }

  /** Waits for the handler that runs: what follows a shutdown hook may still be used by it until then. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  on(): never {
    throw new Error('a strategy of batches has no events of its own');
  }

  unwrap<T>(): T {
    return this.#transport as T;
  }
}
