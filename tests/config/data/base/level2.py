model = dict(type='RPN', backbone=dict(type='ResNet', depth=50))
