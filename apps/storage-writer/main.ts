import { makeLog } from '../../libs/service/log.ts';
import { runService } from '../../libs/service/run-service.ts';
import { startStorageWriter } from './compose.ts';

const log = makeLog('storage-writer', 'info');
await runService('storage-writer', log, () => startStorageWriter(process.env, log));
