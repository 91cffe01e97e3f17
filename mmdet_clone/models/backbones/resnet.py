"""Deep Residual Learning for Image Recognition (ResNet), arXiv 1512.03385."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_clone.registry import BACKBONES

from ..layers import ResLayer, build_conv_layer, build_norm_layer
from .residual_blocks import BasicBlock, Bottleneck

__all__ = ['BasicBlock', 'Bottleneck', 'ResNet', 'ResNetV1d']


@BACKBONES.register_module()
class ResNet(BaseModule):
    """ResNet of depth 18, 34, 50, 101 or 152.

    Args:
        depth: the number of layers.
        in_channels: channels of the image.
        stem_channels: channels of the stem's output; ``base_channels`` by default.
        base_channels: inner channels of the first stage's blocks; each stage doubles them.
        num_stages: how many stages are built, 1 to 4.
        strides, dilations: of each stage.
        out_indices: the stages whose outputs are returned.
        style: ``'pytorch'`` strides in a bottleneck's 3x3 convolution, ``'caffe'`` in its first 1x1 one.
        deep_stem: three 3x3 convolutions instead of one 7x7.
        avg_down: average pooling before the short cuts' 1x1 convolutions, which then have stride 1.
        frozen_stages: the stem and this many stages neither train nor update their statistics; -1 freezes
            nothing, 0 the stem alone.
        conv_cfg, norm_cfg: layer types.
        norm_eval: keep batch normalisation in eval mode while training.
        dcn: the deformable convolution to use in place of 3x3 ones, in the stages that ``stage_with_dcn`` names.
        plugins: layers to insert into bottlenecks: ``dict(cfg=dict(type=...), stages=(bool,) * 4, position=...)``.
        with_cp: save memory by computing blocks again in the backward pass.
        zero_init_residual: start each block's last normalisation at zero, so that blocks begin as identities.
        pretrained: a checkpoint's path or URL; the older way to write ``init_cfg``.
    """

    arch_settings = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        dcn: dict | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: list[dict] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        self._check_arguments(depth, num_stages, strides, dilations, out_indices, style)
        super().__init__(self._initialization(pretrained, init_cfg))
        self.depth = depth
        self.in_channels, self.base_channels = in_channels, base_channels
        self.stem_channels = stem_channels or base_channels
        self.num_stages, self.out_indices, self.frozen_stages = num_stages, tuple(out_indices), frozen_stages
        self.strides, self.dilations = tuple(strides), tuple(dilations)
        self.style, self.deep_stem, self.avg_down = style, deep_stem, avg_down
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg or dict(type='BN', requires_grad=True)
        self.norm_eval = norm_eval
        self.dcn, self.stage_with_dcn, self.plugins = dcn, tuple(stage_with_dcn), plugins
        self.with_cp, self.zero_init_residual = with_cp, zero_init_residual

        self.block, blocks = self.arch_settings[depth]
        self.stage_blocks = blocks[:num_stages]
        self._make_stem_layer(in_channels, self.stem_channels)
        self._make_stages(zero_init=zero_init_residual and not (pretrained or init_cfg))
        self.feat_dim = self.block.expansion * base_channels * 2 ** (num_stages - 1)
        self._freeze_stages()

    def _check_arguments(
        self,
        depth: int,
        num_stages: int,
        strides: Sequence[int],
        dilations: Sequence[int],
        out_indices: Sequence[int],
        style: str,
    ) -> None:
        name = type(self).__name__
        if depth not in self.arch_settings:
            raise ValueError(f'{name} has depths {sorted(self.arch_settings)}, got depth={depth!r}')
        if not 1 <= num_stages <= 4:
            raise ValueError(f'{name} has 1 to 4 stages, got num_stages={num_stages}')
        if not len(strides) == len(dilations) == num_stages:
            raise ValueError(
                f'{name} needs one stride and one dilation for each of its num_stages={num_stages} stages, '
                f'got strides={tuple(strides)}, dilations={tuple(dilations)}'
            )
        if max(out_indices) >= num_stages:
            raise ValueError(
                f'out_indices={tuple(out_indices)} of {name} names a stage beyond num_stages={num_stages} '
                '(they count from 0)'
            )
        if style not in ('pytorch', 'caffe'):
            raise ValueError(f"style of {name} is 'pytorch' or 'caffe', got {style!r}")

    @staticmethod
    def _initialization(pretrained: str | None, init_cfg: dict | list | None) -> dict | list:
        if pretrained and init_cfg:
            raise ValueError(
                f'both init_cfg and pretrained={pretrained!r} are given: write the checkpoint as '
                "init_cfg=dict(type='Pretrained', checkpoint=...) alone"
            )
        if pretrained:
            return dict(type='Pretrained', checkpoint=pretrained)
        return init_cfg or [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ]

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        if self.deep_stem:
            half = stem_channels // 2
            shapes = [(in_channels, half, 2), (half, half, 1), (half, stem_channels, 1)]
            self.stem = nn.Sequential(*(layer for shape in shapes for layer in self._stem_convolution(*shape)))
        else:
            self.conv1 = build_conv_layer(
                self.conv_cfg, in_channels, stem_channels, kernel_size=7, stride=2, padding=3, bias=False
            )
            self.norm1_name, norm1 = build_norm_layer(self.norm_cfg, stem_channels, postfix=1)
            self.add_module(self.norm1_name, norm1)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def _stem_convolution(self, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        return [
            build_conv_layer(self.conv_cfg, in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            build_norm_layer(self.norm_cfg, out_channels)[1],
            nn.ReLU(inplace=True),
        ]

    @property
    def norm1(self) -> nn.Module:
        return getattr(self, self.norm1_name)

    def _make_stages(self, zero_init: bool) -> None:
        self.inplanes = self.stem_channels
        self.res_layers = []
        for i, num_blocks in enumerate(self.stage_blocks):
            planes = self.base_channels * 2**i
            stage = self.make_res_layer(
                block=self.block,
                inplanes=self.inplanes,
                planes=planes,
                num_blocks=num_blocks,
                stride=self.strides[i],
                dilation=self.dilations[i],
                style=self.style,
                avg_down=self.avg_down,
                with_cp=self.with_cp,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                dcn=self.dcn if self.stage_with_dcn[i] else None,
                plugins=self.make_stage_plugins(self.plugins, i),
                init_cfg=self._zero_last_norm() if zero_init else None,
            )
            self.inplanes = planes * self.block.expansion
            self.res_layers.append(f'layer{i + 1}')
            self.add_module(self.res_layers[-1], stage)

    def make_res_layer(self, **stage_args: object) -> ResLayer:
        """Build a stage; variants of the architecture override this."""
        return ResLayer(**stage_args)

    @staticmethod
    def make_stage_plugins(plugins: list[dict] | None, stage: int) -> list[dict]:
        """The plug-ins of stage ``stage`` (from 0); those that name no stages are in all."""
        return [plugin for plugin in plugins or () if plugin.get('stages') is None or plugin['stages'][stage]]

    def _zero_last_norm(self) -> dict:
        last = 'norm3' if issubclass(self.block, Bottleneck) else 'norm2'
        return dict(type='Constant', val=0, override=dict(name=last))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> the features of the stages in ``out_indices``."""
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        outs = []
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stem = [self.stem] if self.deep_stem else [self.conv1, self.norm1]
        return stem + [getattr(self, name) for name in self.res_layers[: self.frozen_stages]]

    def _freeze_stages(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Switch to training; what is frozen, and with ``norm_eval`` the batch statistics, stay as they are."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


@BACKBONES.register_module()
class ResNetV1d(ResNet):
    """ResNet-D of "Bag of Tricks for Image Classification with Convolutional Neural Networks" (arXiv 1812.01187).

    It takes the arguments of :class:`ResNet` but ``deep_stem`` and ``avg_down``, which are what defines it.
    """

    def __init__(self, **resnet_args: object) -> None:
        super().__init__(deep_stem=True, avg_down=True, **resnet_args)
