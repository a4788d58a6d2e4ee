import { recipientOf } from '../../../libs/blocks/keys.ts';
import { readIdentity } from '../../../libs/embedded/domain-files.ts';
import { TmError } from '../../../libs/model/errors.ts';
import { type Context, withLookingEngine } from '../context.ts';

/** `key show`: never shows the identity itself. */
export async function key(context: Context, [action]: string[]): Promise<number> {
  if (action !== 'show') throw new TmError('TM1001', `key ${action}: only \`key show\` is known`);
  return withLookingEngine(context, async (engine) => {
    const file = context.settings.identityFile ?? engine.home.identityFile;
    const recipient = await recipientOf(await readIdentity(engine.home, context.settings));
    context.output.line(
      { type: 'key', identityFile: file, recipient, domain: engine.domain.id },
      () => `identity file  ${file}\nrecipient      ${recipient}\ndomain         ${engine.domain.id}`,
    );
    return 0;
  });
}
