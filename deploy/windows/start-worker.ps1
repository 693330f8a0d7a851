<#
.SYNOPSIS
Runs one worker, and starts it again whenever it ends with anything but 0 or 78.
.DESCRIPTION
What the logon task and the service start. The worker reads .env in its folder; its log goes to
worker.log there, which is begun anew at 20 MB, with four older ones kept.
.PARAMETER Folder
The worker's folder: .env, key, log. One folder per terminal.
.PARAMETER Worker
Path of mt5relay-worker.exe.
.PARAMETER MaxStarts
Ends after so many starts; 0 for never. For trials.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)][string]$Folder,
    [Parameter(Mandatory = $true)][string]$Worker,
    [int]$MaxStarts = 0
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$settled = @(0, 78)  # a graceful stop; wrong settings, which another start would not mend

function Move-LargeLog([string]$Log) {
    if (-not (Test-Path -LiteralPath $Log) -or (Get-Item -LiteralPath $Log).Length -lt 20971520) {
        return
    }
    foreach ($number in 4..1) {
        $older = '{0}.{1}' -f $Log, $number
        if (Test-Path -LiteralPath $older) {
            Move-Item -LiteralPath $older -Destination ('{0}.{1}' -f $Log, ($number + 1)) -Force
        }
    }
    Move-Item -LiteralPath $Log -Destination ('{0}.1' -f $Log) -Force
}

Set-Location -LiteralPath $Folder
$log = Join-Path $Folder 'worker.log'
$starts = 0
do {
    Move-LargeLog $log
    # cmd appends what the worker writes byte by byte; PowerShell 5.1 would turn it into UTF-16.
    $line = '""{0}" run 2>> "{1}""' -f $Worker, $log
    $process = Start-Process -FilePath $env:ComSpec -ArgumentList '/d', '/c', $line `
        -WorkingDirectory $Folder -NoNewWindow -PassThru -Wait
    $status = $process.ExitCode
    $starts += 1
    if ($settled -contains $status) { break }
    Start-Sleep -Seconds 2
} while ($MaxStarts -eq 0 -or $starts -lt $MaxStarts)
exit $status
