import { Controller, type DynamicModule, Inject, Module, UseFilters } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import type { ChangeEvents } from '../../libs/calculate/change-events.ts';
import type { ChangeMessage } from '../../libs/contracts/messages.ts';
import { PassOnFilter } from '../../libs/service/pass-on.filter.ts';

const CHANGE_EVENTS = Symbol('change events');

@Controller()
@UseFilters(PassOnFilter)
class ChangeEventsController {
  readonly #changeEvents: ChangeEvents;

  constructor(@Inject(CHANGE_EVENTS) changeEvents: ChangeEvents) {
    this.#changeEvents = changeEvents;
  }

  @EventPattern<string>('change-events')
  handle(messages: readonly ChangeMessage[]): Promise<void> {
    return this.#changeEvents.handle(messages);
  }
}

/** Change events in, delta sets out. */
@Module({})
export class DeltaCalculatorModule {
  static of(changeEvents: ChangeEvents): DynamicModule {
    return {
      module: DeltaCalculatorModule,
      controllers: [ChangeEventsController],
      providers: [{ provide: CHANGE_EVENTS, useValue: changeEvents }],
    };
  }
}
