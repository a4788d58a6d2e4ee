import { EmbeddedSchedule } from '../../libs/embedded/embedded-schedule.ts';
import type { ScheduleApi } from '../../libs/schedule/schedule-api.ts';
import { type Context, withEngine } from './context.ts';

/** Policies and jobs of the registry in this home, or of the server. */
export function withSchedule<T>(
  context: Context,
  create: boolean,
  work: (schedule: ScheduleApi) => Promise<T>,
): Promise<T> {
  if (context.settings.server) return overServices(context, work);
  return withEngine(context, create, async (engine) => {
    const schedule = new EmbeddedSchedule(engine);
    try {
      return await work(schedule);
    } finally {
      await schedule.close();
    }
  });
}

async function overServices<T>(context: Context, work: (schedule: ScheduleApi) => Promise<T>): Promise<T> {
  const { withServer } = await import('./with-server.ts');
  const { RemoteSchedule } = await import('../../libs/remote/remote-schedule.ts');
  return withServer(context, ({ control, signal }, reader) =>
    work(new RemoteSchedule(control, reader, signal)),
  );
}
