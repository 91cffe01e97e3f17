"""Annotations as toolboxes over pycocotools keep them: the peer of a benchmark."""

from __future__ import annotations

import numpy as np


class PeerDataset:
    """pycocotools' index, and a dict for each image that is trained on."""

    def __init__(self, path: str) -> None:
        from pycocotools.coco import COCO

        self.coco = COCO(path)
        shown = {ann['image_id'] for ann in self.coco.anns.values()}
        infos = [self.coco.loadImgs([i])[0] for i in self.coco.getImgIds()]
        self.data_infos = [{**info, 'filename': info['file_name']} for info in infos if info['id'] in shown]
        self.cat2label = {cat_id: label for label, cat_id in enumerate(self.coco.getCatIds())}

    def get_ann_info(self, index: int) -> dict:
        info = self.data_infos[index]
        anns = self.coco.loadAnns(self.coco.getAnnIds(imgIds=[info['id']]))
        anns = [ann for ann in anns if ann['area'] > 0 and min(ann['bbox'][2:]) >= 1 and not ann['iscrowd']]
        boxes = np.array([ann['bbox'] for ann in anns], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([self.cat2label[ann['category_id']] for ann in anns], dtype=np.int64)
        return dict(bboxes=boxes, labels=labels, masks=[ann['segmentation'] for ann in anns])

    def __len__(self) -> int:
        return len(self.data_infos)

    def __getitem__(self, index: int) -> dict:
        return dict(img_info=self.data_infos[index], ann_info=self.get_ann_info(index))
