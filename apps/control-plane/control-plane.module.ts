import { Controller, type DynamicModule, Inject, Module, UseFilters } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import type { CommitMessage } from '../../libs/contracts/messages.ts';
import { PassOnFilter } from '../../libs/service/pass-on.filter.ts';

const ON_COMMITS = Symbol('on commits');

type OnCommits = (messages: readonly CommitMessage[]) => void;

@Controller()
@UseFilters(PassOnFilter)
class CommitsController {
  readonly #onCommits: OnCommits;

  constructor(@Inject(ON_COMMITS) onCommits: OnCommits) {
    this.#onCommits = onCommits;
  }

  /** A differential may be due, now that a full has completed; what is due is read from the registry. */
  @EventPattern<string>('commits')
  async handle(messages: readonly CommitMessage[]): Promise<void> {
    this.#onCommits(messages);
  }
}

/** Commits in; all else is HTTP. */
@Module({})
export class ControlPlaneModule {
  static of(onCommits: OnCommits): DynamicModule {
    return {
      module: ControlPlaneModule,
      controllers: [CommitsController],
      providers: [{ provide: ON_COMMITS, useValue: onCommits }],
    };
  }
}
