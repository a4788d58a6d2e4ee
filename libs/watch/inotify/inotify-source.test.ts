import { eventSourceSuite } from '../event-source.suite.ts';
import { whyNoMounts } from '../mountable.suite.ts';
import { InotifySource } from './inotify-source.ts';

eventSourceSuite({
  kind: 'inotify',
  start: (options) => InotifySource.start(options),
  noMounts: whyNoMounts(),
});
