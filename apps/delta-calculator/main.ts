import { makeLog } from '../../libs/service/log.ts';
import { runService } from '../../libs/service/run-service.ts';
import { startDeltaCalculator } from './compose.ts';

const log = makeLog('delta-calculator', 'info');
await runService('delta-calculator', log, () => startDeltaCalculator(process.env, log));
