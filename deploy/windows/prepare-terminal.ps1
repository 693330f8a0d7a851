<#
.SYNOPSIS
Gives a worker a terminal of its own: a copy of the program and settings that ask nobody anything.
.DESCRIPTION
Copies an installed terminal into the worker's folder and starts it once with terminal.ini, in which
news are off, no account is kept, and Algo Trading outlives a change of account. A copy has a data
folder of its own, since the terminal names it after the program's path. Log in once by hand
afterwards, so that the broker's servers are known, and switch on 'Algo Trading': while it is off
the package may get no answer.
.EXAMPLE
.\prepare-terminal.ps1 -Source 'C:\Program Files\MetaTrader 5' -Folder C:\mt5relay\main
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)][string]$Source,
    [Parameter(Mandatory = $true)][string]$Folder
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$target = Join-Path $Folder 'terminal'
if (-not (Test-Path -LiteralPath "$Source\terminal64.exe")) { throw "no terminal64.exe in $Source" }
if (Test-Path -LiteralPath "$target\terminal64.exe") { throw "$target has a terminal already" }

New-Item -ItemType Directory -Path $target -Force | Out-Null
Copy-Item -Path "$Source\*" -Destination $target -Recurse
# The terminal reads its start settings in UTF-16.
$start = Join-Path $Folder 'terminal.ini'
Get-Content -LiteralPath "$PSScriptRoot\..\terminal\terminal.ini" |
    Out-File -LiteralPath $start -Encoding Unicode
Start-Process -FilePath "$target\terminal64.exe" -ArgumentList "/config:`"$start`""
Write-Output "Started $target\terminal64.exe. Log in once, switch on Algo Trading, then close it."
