import { Controller, Get, Header, HttpCode, Inject, Res } from '@nestjs/common';
import { type Dependency, type Health, healthOf } from './health.ts';
import type { Metrics } from './metrics.ts';

/** What a running service tells of itself. */
export interface ServiceState {
  readonly dependencies: readonly Dependency[];
  readonly metrics: Metrics;
  readonly openApi: object;
  stopping: boolean;
}

export const SERVICE_STATE = Symbol('service state');

/** The one thing that is needed of the reply here. */
interface StatusReply {
  status(code: number): unknown;
}

/** For orchestrators and monitoring; open to all who reach the port. */
@Controller()
export class HealthController {
  readonly #state: ServiceState;

  constructor(@Inject(SERVICE_STATE) state: ServiceState) {
    this.#state = state;
  }

  /** The process answers: there is nothing else that a restart would cure. */
  @Get('health/live')
  @HttpCode(200)
  live(): Health {
    return { status: 'ok', checks: {} };
  }

  /** 503 while something that is needed is away, or the service is about to stop: send no requests here. */
  @Get('health/ready')
  async ready(@Res({ passthrough: true }) reply: StatusReply): Promise<Health> {
    const health: Health = this.#state.stopping
      ? { status: 'stopping', checks: {} }
      : await healthOf(this.#state.dependencies);
    reply.status(health.status === 'ok' ? 200 : 503);
    return health;
  }

  @Get('metrics')
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  metrics(): Promise<string> {
    return this.#state.metrics.registry.metrics();
  }

  @Get('openapi.json')
  openApi(): object {
    return this.#state.openApi;
  }
}
