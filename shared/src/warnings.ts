/**
 * The warnings of successful replies (`warnings` of the envelope): the request was accepted, but a part of it is not done as requested. Such a part is
 * either refused with 422 or named by a warning; nothing is changed silently.
 */
export const warnings = {
  VOICE_NOT_CONVERTED: 'The audio was not converted to Ogg/Opus and is sent as it is. Some phones may not play it.',
  FILENAME_CHANGED: 'The file name was changed so that every system can store and open the file.',
  STICKER_NOT_ANIMATED: 'Only the first picture of an animated image becomes a sticker. Send an animated WebP instead.',
  EXPIRES_EARLIER: 'expiresAt is later than the setting maxQueueAgeHours of the session allows. The setting applies.',
  INTERACTIVE_DEPRECATED:
    'WhatsApp no longer delivers lists and buttons. The message is sent as a text with numbered options; an answer is reported as selectedOption.',
  PAIRING_CODE_NOT_REQUESTED: 'No pairing code was requested, because the session does not wait for a scan.',
} as const;

export type WarningCode = keyof typeof warnings;
export interface Warning {
  code: WarningCode;
  message: string;
}

/** Returns a warning with its sentence from the table, followed by `detail` if there is one. */
export const warning = (code: WarningCode, detail?: string): Warning => ({
  code,
  message: detail ? `${warnings[code]} ${detail}` : warnings[code],
});
