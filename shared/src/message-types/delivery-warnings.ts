import { warning, type Warning } from '../warnings.js';
import { renderedTypes, type MessageType } from './index.js';

/** Returns the warnings about messages of this type with these fields: what WhatsApp does not deliver as requested. */
export function deliveryWarnings(type: MessageType, fields: object): Warning[] {
  if (renderedTypes.some((one) => one === type)) return [warning('INTERACTIVE_DEPRECATED')];
  const isOwnPreview = type === 'text' && 'linkPreview' in fields && typeof fields.linkPreview === 'object';
  return isOwnPreview ? [warning('PREVIEW_NOT_GUARANTEED')] : [];
}
