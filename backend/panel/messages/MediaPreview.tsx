import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import { root } from '../api.js';
import { size } from '../words.js';

type Media = NonNullable<MessageView['media']>;
const shownTypes = /^image\/(png|jpeg|webp|gif)$/;

/** The file of a message: shown or played where that is safe, and always with a link to download it. */
const MediaPreview: React.FC<{ media: Media; alt: string }> = ({ media, alt }) => {
  if (media.state !== 'stored')
    return (
      <p className="cq-soft">
        {media.state === 'pending' ? 'The file is being fetched.' : (media.reason ?? 'The file is no longer available.')}
      </p>
    );
  const source = `${root}/live/media/${media.id}`;
  return (
    <figure className="cq-media">
      {shownTypes.test(media.mimetype) && <img src={source} alt={alt} loading="lazy" />}
      {media.mimetype.startsWith('audio/') && <audio controls preload="none" src={source} />}
      {media.mimetype.startsWith('video/') && <video controls preload="none" src={source} />}
      <figcaption>
        <a href={source} download={media.filename ?? ''}>
          {media.filename ?? 'Download the file'}
        </a>{' '}
        {media.mimetype}
        {media.size !== null && `, ${size(media.size)}`}
      </figcaption>
    </figure>
  );
};
export default MediaPreview;
