import { geteuid } from '../../posix/index.ts';
import { eventSourceSuite } from '../event-source.suite.ts';
import { whyNoMounts } from '../mountable.suite.ts';
import { FanotifySource } from './fanotify-source.ts';

eventSourceSuite({
  kind: 'fanotify',
  start: (options) => FanotifySource.start(options),
  lacks: geteuid() === 0 ? undefined : 'needs root',
  noMounts: whyNoMounts(),
});
