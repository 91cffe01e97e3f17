"""Box heads with convolutions and fully connected layers before the two predictors."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ...builder import HEADS
from .bbox_head import BBoxHead

__all__ = ['ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead']


@HEADS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Layers that both tasks share, then layers of each::

                                  /-> cls convs -> cls fcs -> fc_cls
        shared convs -> shared fcs
                                  \\-> reg convs -> reg fcs -> fc_reg

    Args:
        num_shared_convs, num_shared_fcs: how many layers; ``shared_layers`` of the class by default.
        num_cls_convs, num_cls_fcs, num_reg_convs, num_reg_fcs: likewise, for one task; it has no convolutions of its
            own behind shared fully connected layers.
        conv_out_channels, fc_out_channels: their width.
        conv_cfg, norm_cfg: types of the convolutions and of the normalisation after each.

    The other arguments are those of ``BBoxHead``.
    """

    shared_layers = (0, 0)

    def __init__(
        self,
        num_shared_convs: int | None = None,
        num_shared_fcs: int | None = None,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | tuple[int, int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: dict | None = None,
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: dict | None = None,
        cls_predictor_cfg: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
    ) -> None:
        self.num_shared_convs = self.shared_layers[0] if num_shared_convs is None else num_shared_convs
        self.num_shared_fcs = self.shared_layers[1] if num_shared_fcs is None else num_shared_fcs
        self.num_cls_convs, self.num_cls_fcs = num_cls_convs, num_cls_fcs
        self.num_reg_convs, self.num_reg_fcs = num_reg_convs, num_reg_fcs
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self._check_layers(with_cls, with_reg)
        super().__init__(
            with_avg_pool=with_avg_pool,
            with_cls=with_cls,
            with_reg=with_reg,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            reg_decoded_bbox=reg_decoded_bbox,
            reg_predictor_cfg=reg_predictor_cfg,
            cls_predictor_cfg=cls_predictor_cfg,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            init_cfg=init_cfg,
        )
        if init_cfg is None:
            fcs = [dict(name=branch) for branch in ('shared_fcs', 'cls_fcs', 'reg_fcs')]
            self.init_cfg.append(dict(type='Xavier', distribution='uniform', override=fcs))

    def _num_layers(self, branch: str) -> tuple[int, int]:
        """How many convolutions and fully connected layers ``'shared'``, ``'cls'`` or ``'reg'`` has."""
        return getattr(self, f'num_{branch}_convs'), getattr(self, f'num_{branch}_fcs')

    def _check_layers(self, with_cls: bool, with_reg: bool) -> None:
        name, shared_fcs = type(self).__name__, self.num_shared_fcs
        if not any(sum(self._num_layers(branch)) for branch in ('shared', 'cls', 'reg')):
            raise ValueError(f'{name} needs at least one layer; BBoxHead is the head without any')
        if shared_fcs and (self.num_cls_convs or self.num_reg_convs):
            raise ValueError(f'{name} cannot have convolutions of a task behind num_shared_fcs={shared_fcs} layers')
        for task, exists in (('cls', with_cls), ('reg', with_reg)):
            if not exists and any(self._num_layers(task)):
                raise ValueError(f'{name} has with_{task}=False, so num_{task}_convs and num_{task}_fcs must be 0')

    def init_layers(self) -> None:
        in_map = self.num_shared_fcs == 0  # whether the tasks' layers get a map still, or a vector
        self.shared_out_channels = self._width_behind('shared', self.in_channels)
        self.cls_last_dim, self.reg_last_dim = (
            self._width_behind(task, self.shared_out_channels) * self.area_of(in_map and self._num_layers(task)[1] == 0)
            for task in ('cls', 'reg')
        )
        self.build_predictors(self.cls_last_dim, self.reg_last_dim)
        self.relu = nn.ReLU(inplace=True)
        self.shared_convs, self.shared_fcs = self._make_layers('shared', self.in_channels, in_map=True)
        self.cls_convs, self.cls_fcs = self._make_layers('cls', self.shared_out_channels, in_map)
        self.reg_convs, self.reg_fcs = self._make_layers('reg', self.shared_out_channels, in_map)

    def _width_behind(self, branch: str, channels: int) -> int:
        """Channels behind the layers of a branch on features of so many."""
        num_convs, num_fcs = self._num_layers(branch)
        return self.fc_out_channels if num_fcs else self.conv_out_channels if num_convs else channels

    def _make_layers(self, branch: str, channels: int, in_map: bool) -> tuple[nn.ModuleList, nn.ModuleList]:
        num_convs, num_fcs = self._num_layers(branch)
        styles = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        convs, fcs = nn.ModuleList(), nn.ModuleList()
        for _ in range(num_convs):
            convs.append(ConvModule(channels, self.conv_out_channels, 3, padding=1, **styles))
            channels = self.conv_out_channels
        for i in range(num_fcs):
            fcs.append(nn.Linear(channels * self.area_of(in_map and i == 0), self.fc_out_channels))
            channels = self.fc_out_channels
        return convs, fcs

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class scores (R, C + 1) before softmax, and box deltas (R, D), of features (R, channels, h, w)."""
        for conv in self.shared_convs:
            x = conv(x)
        if self.num_shared_fcs:
            x = self._fully_connected(x, self.shared_fcs)
        cls_score = self.fc_cls(self._branch(x, self.cls_convs, self.cls_fcs)) if self.with_cls else None
        bbox_pred = self.fc_reg(self._branch(x, self.reg_convs, self.reg_fcs)) if self.with_reg else None
        return cls_score, bbox_pred

    def _branch(self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        for conv in convs:
            x = conv(x)
        return self._fully_connected(x, fcs)

    def _fully_connected(self, x: Tensor, fcs: nn.ModuleList) -> Tensor:
        x = self.flatten(x) if x.dim() > 2 else x
        for fc in fcs:
            x = self.relu(fc(x))
        return x


@HEADS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared fully connected layers: the head of "Feature Pyramid Networks" (arXiv 1612.03144)."""

    shared_layers = (0, 2)


@HEADS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions, then one fully connected layer ("Group Normalization", arXiv 1803.08494)."""

    shared_layers = (4, 1)
