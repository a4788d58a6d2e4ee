import { makeLog } from '../../libs/service/log.ts';
import { runService } from '../../libs/service/run-service.ts';
import { startFsMonitorAgent } from './compose.ts';

const log = makeLog('fs-monitor-agent', 'info');
await runService('fs-monitor-agent', log, () => startFsMonitorAgent(process.env, log));
