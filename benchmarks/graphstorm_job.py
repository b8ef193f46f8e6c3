"""A node classification job by GraphStorm's Python API, as its users write it: `benchmarks.with_graphstorm` runs it.

It knows nothing of this project. GraphStorm 0.5.1 imports `autogluon` for transforms of tables, which it doesn't
declare; an empty module stands for it here.
"""

import argparse
import importlib
import sys
from unittest.mock import MagicMock

MITRA = "autogluon.tabular.models.mitra._internal"
for name in ("autogluon", "autogluon.tabular", f"{MITRA}.data.dataset_finetune", f"{MITRA}.config.enums"):
    sys.modules.setdefault(name, MagicMock())
sys.modules.setdefault(f"{MITRA}.core.trainer_finetune", MagicMock())

gs, trainers, parts = (importlib.import_module(f"graphstorm{room}") for room in ("", ".trainer", ".model"))


def model_of(graph, hidden=16, classes=8):
    model = parts.GSgnnNodeModel(alpha_l2norm=0)
    sizes = {"paper": 32, "inst": 8, "author": 0}
    model.set_node_input_encoder(parts.GSNodeEncoderInputLayer(g=graph, feat_size=sizes, embed_size=hidden))
    model.set_gnn_encoder(parts.RelationalGCNEncoder(g=graph, h_dim=hidden, out_dim=hidden, num_hidden_layers=1))
    model.set_decoder(parts.EntityClassifier(in_dim=hidden, num_classes=classes, multilabel=False))
    model.set_loss_func(parts.ClassifyLossFunc(multilabel=False))
    model.init_optimizer(lr=1e-2, sparse_optimizer_lr=1e-2, weight_decay=0)
    return model


def main(args):
    gs.initialize(ip_config=args.ip_config, backend="gloo", local_rank=0)
    data = gs.dataloading.GSgnnData(part_config=args.part_config)
    loader = gs.dataloading.GSgnnNodeDataLoader(
        dataset=data,
        target_idx=data.get_node_train_set(ntypes=["paper"]),
        node_feats={"paper": ["feat"], "inst": ["about"]},
        label_field="labels",
        fanout=[3, 4],
        batch_size=60,
        train_task=True,
    )
    trainer = trainers.GSgnnNodePredictionTrainer(model_of(data.g))
    trainer.setup_device(gs.utils.get_device())
    trainer.fit(train_loader=loader, num_epochs=3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ip_config")
    parser.add_argument("--part_config")
    main(parser.parse_args())
