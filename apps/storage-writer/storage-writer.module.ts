import { Controller, type DynamicModule, Inject, Module, UseFilters } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import type { DeltaMessage } from '../../libs/contracts/messages.ts';
import { PassOnFilter } from '../../libs/service/pass-on.filter.ts';
import type { DeltaSets } from '../../libs/writer/delta-sets.ts';

const DELTA_SETS = Symbol('delta sets');

@Controller()
@UseFilters(PassOnFilter)
class DeltaSetsController {
  readonly #deltaSets: DeltaSets;

  constructor(@Inject(DELTA_SETS) deltaSets: DeltaSets) {
    this.#deltaSets = deltaSets;
  }

  @EventPattern<string>('delta-sets')
  handle(messages: readonly DeltaMessage[]): Promise<void> {
    return this.#deltaSets.handle(messages);
  }
}

/** Delta sets in, commits out; blocks over HTTP. */
@Module({})
export class StorageWriterModule {
  static of(deltaSets: DeltaSets): DynamicModule {
    return {
      module: StorageWriterModule,
      controllers: [DeltaSetsController],
      providers: [{ provide: DELTA_SETS, useValue: deltaSets }],
    };
  }
}
