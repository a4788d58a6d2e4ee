import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MAIN, Rig } from './rig.ts';

let rig: Rig;
let source: string;

beforeAll(() => {
  rig = new Rig('streams');
  source = rig.folder('source');
  mkdirSync(rig.path('source/many'));
  for (let i = 0; i < 300; i++) writeFileSync(rig.path(`source/many/file-${i}`), `${i}`);
  expect(rig.json(['backup', source]).status).toBe(0);
}, 60_000);

afterAll(() => rig.dispose());

describe('streams', () => {
  test('a reader that goes away ends a listing silently', () => {
    const { stdout, stderr } = rig.bash(
      `tidemark ls latest --recursive --source ${source} | head -1; echo "\${PIPESTATUS[0]}"`,
    );
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([expect.stringMatching(/ \.$/), '0']);
    expect(rig.bash(`tidemark backups --json | true; echo "\${PIPESTATUS[0]}"`)).toMatchObject({
      stdout: '0\n',
      stderr: '',
    });
  });

  test('a backup whose output nobody reads is a backup', () => {
    const count = () => rig.json(['backups', source]).lines.length;
    const before = count();
    for (const sink of ['| true', '>&-', '2>&-']) {
      const line = `tidemark backup ${source} ${sink}; echo "\${PIPESTATUS[0]}"`;
      expect(rig.bash(line).stdout).toMatch(/0\n$/);
    }
    expect(count()).toBe(before + 3);
  });

  test('output that cannot be written is an error, for `cat` above all', () => {
    for (const command of [`cat latest many/file-7 --source ${source}`, 'backups']) {
      const { status, stderr } = rig.bash(`tidemark ${command} > /dev/full`);
      expect([status, stderr], command).toEqual([1, expect.stringContaining('[TM1004]')]);
    }
  });

  test('progress goes to a terminal on stderr, and nowhere else', () => {
    const backup = ['backup', source, '--full'];
    expect(rig.run(backup).stderr).toBe('');
    const onTerminal = (more: string) =>
      rig.exec('script', ['-qec', `"$NODE" "$MAIN" ${backup.join(' ')} ${more}`, '/dev/null']).stdout;
    expect(onTerminal('')).toMatch(/\r.\[K\d+ files, .*B\/s/);
    for (const quiet of ['--no-progress', '--quiet', '--json'])
      expect(onTerminal(quiet)).not.toContain('\u001b[K');
    const lines = rig.json(backup).lines.filter((line) => line.type === 'progress');
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines)
      expect(line).toMatchObject({
        filesDone: expect.any(Number),
        bytesDone: expect.any(Number),
        bytesPerSecond: expect.any(Number),
      });
  });

  test('progress goes on within one large file, at most twice a second', () => {
    const dir = rig.folder('large');
    const size = 64 * 1024 * 1024;
    writeFileSync(rig.path('large/file'), randomBytes(size));
    const { lines, last } = rig.json(['backup', dir, '--limit-upload', '16M']);
    const told = lines.filter(({ type }) => type === 'progress');
    const within = told.filter(({ bytesDone }) => Number(bytesDone) > 0 && Number(bytesDone) < size);
    expect(within.length).toBeGreaterThan(1);
    for (const line of within) expect(line).toMatchObject({ filesDone: 0, bytesTotal: size });
    expect(within.at(-1)).toMatchObject({ secondsLeft: expect.any(Number) });
    expect(told.length).toBeLessThanOrEqual(Number(last.seconds) * 2 + 1);
    expect(told.map(({ bytesDone }) => bytesDone)).toEqual(
      told.map(({ bytesDone }) => bytesDone).toSorted((a, b) => Number(a) - Number(b)),
    );
  });
});

describe('paths that are no UTF-8', () => {
  test('are taken as arguments byte for byte', () => {
    const dir = `"${rig.base}"/$'bytes-\\xff'`;
    const { stderr, status } = rig.bash(
      `set -e; mkdir -p ${dir}/$'in-\\xfe'; printf content > ${dir}/$'in-\\xfe/f\\x80'; tidemark backup ${dir}
       test "$(tidemark cat latest --source ${dir} $'in-\\xfe/f\\x80')" = content
       tidemark ls latest $'in-\\xfe' --source ${dir} | grep -qF 'in-\\xfe/f\\x80'
       tidemark backups ${dir} | grep -qF 'bytes-\\xff'
       tidemark restore latest $'in-\\xfe/f\\x80' --source ${dir} --to ${dir}-$'restored-\\xfd'
       test "$(cat ${dir}-$'restored-\\xfd'/$'in-\\xfe/f\\x80')" = content
       touch ${dir}/$'x\\xf0' && tidemark backup ${dir} --dry-run --json --exclude $'in-\\xfe' | grep -F '"op":"deleted"'`,
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  test('missing ones are named without harm', () => {
    const { status, stdout } = rig.bash(`tidemark backup $'/no/\\xff' --json`);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ code: 'TM1101', path: { base64: 'L25vL/8=' } });
  });
});

describe('limits', () => {
  test('an upload takes its time, and Ctrl-C does not wait for it', () => {
    const dir = rig.folder('limited');
    writeFileSync(rig.path('limited/random'), randomBytes(300_000));
    expect(rig.json(['backup', dir, '--limit-upload', '150K']).last.seconds).toBeGreaterThan(1.9);
    writeFileSync(rig.path('limited/more'), randomBytes(300_000));
    const started = performance.now();
    const stopped = rig.exec('timeout', ['-s', 'INT', '4', process.execPath, '--', ...interrupted(dir)]);
    expect(stopped.status).toBe(124);
    expect(stopped.stdout).toContain('TM1508');
    expect(performance.now() - started).toBeLessThan(14_000);
    expect(rig.json(['backup', dir])).toMatchObject({ status: 0, last: { added: 1 } });
  });

  test('signals that come at once are one wish to end', () => {
    const dir = rig.folder('signalled');
    writeFileSync(rig.path('signalled/random'), randomBytes(300_000));
    const { stdout } = rig.bash(
      `out="${rig.path('signalled.json')}"
       "$NODE" ${interrupted(dir).join(' ')} > "$out" & pid=$!
       until grep -q progress "$out"; do sleep 0.05; done
       for i in 1 2 3; do kill -TERM $pid; sleep 0.01; done
       wait $pid; echo $?; cat "$out"`,
    );
    expect(stdout).toMatch(/^130\n/);
    expect(stdout).toContain('TM1508');
    expect(rig.json(['backup', dir])).toMatchObject({ status: 0, last: { added: 2 } });
  });
});

const interrupted = (dir: string): string[] => [MAIN, 'backup', dir, '--limit-upload', '1K', '--json'];
