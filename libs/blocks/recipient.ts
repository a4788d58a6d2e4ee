import { Encrypter } from 'age-encryption';

/** An age X25519 recipient whose checksum is right: with a typing error in it, nothing could be wrapped to it later. */
export function isRecipient(text: string): boolean {
  if (!/^age1[0-9a-z]{58}$/.test(text)) return false;
  try {
    new Encrypter().addRecipient(text);
    return true;
  } catch {
    return false;
  }
}
