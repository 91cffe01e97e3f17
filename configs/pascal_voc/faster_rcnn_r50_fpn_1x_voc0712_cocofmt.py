_base_ = './faster_rcnn_r50_fpn_1x_voc0712.py'
# the annotations as tools/dataset_converters/pascal_voc.py --out-format coco writes them
CLASSES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)
dataset_type = 'CocoDataset'
data = dict(
    train=dict(
        dataset=dict(
            type=dataset_type, ann_file='data/voc0712_trainval.json', img_prefix='data/VOCdevkit', classes=CLASSES
        )
    ),
    val=dict(type=dataset_type, ann_file='data/voc07_test.json', img_prefix='data/VOCdevkit', classes=CLASSES),
    test=dict(type=dataset_type, ann_file='data/voc07_test.json', img_prefix='data/VOCdevkit', classes=CLASSES),
)
evaluation = dict(interval=1, metric='bbox')
