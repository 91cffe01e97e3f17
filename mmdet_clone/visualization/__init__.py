"""Drawing detections on images, quickly and readably; no matplotlib, no window unless one is asked for."""

from mmdet_clone.visualization.draw import draw_detections, flatten_result
from mmdet_clone.visualization.palette import as_palette, color_of, palette_for
from mmdet_clone.visualization.window import show_image

__all__ = ['as_palette', 'color_of', 'draw_detections', 'flatten_result', 'palette_for', 'show_image']
