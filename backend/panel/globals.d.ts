/** AdminJS provides its router as a global of the page. These are the parts of it that our pages use. */
declare module 'react-router-dom' {
  import type { AnchorHTMLAttributes, FC } from 'react';

  export const Link: FC<AnchorHTMLAttributes<HTMLAnchorElement> & { to: string }>;
  export function useNavigate(): (to: string, options?: { replace?: boolean }) => void;
  export function useLocation(): { pathname: string; search: string };
  export function useParams(): Record<string, string | undefined>;
  export function useSearchParams(): [URLSearchParams, (next: URLSearchParams) => void];
}
