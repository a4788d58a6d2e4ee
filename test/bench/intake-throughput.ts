/**
 * How fast a storage writer takes frames over the loopback, agent and writer in one process: frames that do not shrink,
 * 16 MiB packs, file store in /dev/shm, embedded Postgres. Prints MB/s; `node test/bench/intake-throughput.ts [MB]`.
 */
import { randomBytes } from 'node:crypto';
import { RemoteIntake } from '../../libs/intake/remote-intake.ts';
import { IntakeRig } from '../../libs/intake/rig.suite.ts';

const MIB = 1024 * 1024;
const total = Number(process.argv[2] ?? 512) * MIB;
const rig = await IntakeRig.make();
try {
  const writers = rig.writers([await rig.server()]);
  for (const round of ['warm-up', 'measured', 'measured']) {
    const intake = new RemoteIntake({
      writers,
      backupId: (await rig.open()).backup.id,
      wrappedKey: async (id) => ({ id, wrapped: rig.dataKey.wrapped }),
    });
    const plain = randomBytes(MIB);
    const frames = Array.from({ length: total / MIB }, (_, n) => {
      plain.writeUInt32LE(n);
      randomBytes(32).copy(plain, 8);
      return rig.seal(rig.block(plain));
    });
    const start = performance.now();
    const cpu = process.cpuUsage();
    for (const frame of frames) await intake.put([frame]).accepted;
    await intake.flush();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const rss = Math.round(process.memoryUsage().rss / MIB);
    process.stdout.write(
      `${round}: ${Math.round(total / 1e6 / seconds)} MB/s, ${((user + system) / 1e6).toFixed(2)} s CPU of ${seconds.toFixed(2)} s, rss ${rss} MiB\n`,
    );
  }
} finally {
  await rig.close();
}
